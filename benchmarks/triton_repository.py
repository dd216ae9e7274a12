"""Does Triton take the repository that ``tools/deploy.py --serve triton`` writes?

nvidia-pytriton (PyPI) brings the server itself with one backend, Python. This script copies the
repository, names that backend instead of onnxruntime and adds to it a model of ten lines that
runs the file in ONNX Runtime: so the server checks config.pbtxt, puts requests together by it,
and its answers can be compared with those of the file alone. What is not tried so is Triton's
own onnxruntime backend, which only its container has.

    .venv-triton/bin/pip install nvidia-pytriton onnxruntime
    .venv-triton/bin/python benchmarks/triton_repository.py models shapes feeds.npz

``feeds.npz``: inputs (1, 3, H, W) named 0, 1, ..., as benchmarks/clients.py leaves them.
"""
import argparse
import glob
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

MODEL = '''
import os
import numpy as np
import onnxruntime
import triton_python_backend_utils as pb


class TritonPythonModel:
    def initialize(self, args):
        path = os.path.join(args['model_repository'], args['model_version'], 'model.onnx')
        self.session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
        self.input = self.session.get_inputs()[0].name
        self.names = [item.name for item in self.session.get_outputs()]

    def execute(self, requests):
        arrays = [pb.get_input_tensor_by_name(item, self.input).as_numpy() for item in requests]
        print('together', len(requests), flush=True)
        found = self.session.run(self.names, {self.input: np.concatenate(arrays)})
        ends = np.cumsum([len(array) for array in arrays])[:-1]
        parts = [np.split(value, ends) for value in found]
        return [pb.InferenceResponse([pb.Tensor(name, part[index]) for name, part in zip(
            self.names, parts)]) for index in range(len(requests))]
'''


def start(folder: str, port: int, log: str) -> subprocess.Popen:
    """Start pytriton's server on a repository."""
    import pytriton
    place = Path(pytriton.__file__).parent / 'tritonserver'
    backends = Path(folder, 'backends')
    shutil.copytree(place / 'backends', backends)
    version = f'{sys.version_info[0]}.{sys.version_info[1]}'
    shutil.copy(place / 'python_backend_stubs' / version / 'triton_python_backend_stub',
                backends / 'python')
    packages = str(Path(pytriton.__file__).parents[1])
    env = dict(os.environ, PYTHONPATH=packages, LD_LIBRARY_PATH=os.pathsep.join(
        glob.glob(f'{packages}/nvidia_pytriton.libs')),
        PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']]))
    with open(log, 'wb') as file:
        return subprocess.Popen(
            [str(place / 'bin/tritonserver'), f'--model-repository={folder}/models',
             f'--backend-directory={backends}', f'--http-port={port}', '--allow-grpc=false',
             '--allow-metrics=false'], env=env, stdout=file, stderr=subprocess.STDOUT)


def main() -> None:
    """Serve, ask, compare."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('repository', type=Path)
    parser.add_argument('name')
    parser.add_argument('feeds')
    parser.add_argument('--rounds', type=int, default=8)
    args = parser.parse_args()
    import onnxruntime
    import tritonclient.http as client
    with np.load(args.feeds, allow_pickle=False) as stored:
        feeds = [stored[str(index)] for index in range(len(stored.files))]
    with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
        shutil.copytree(args.repository / args.name, Path(folder, 'models', args.name))
        config = Path(folder, 'models', args.name, 'config.pbtxt')
        config.write_text(re.sub(r'(?m)^backend: .*$', 'backend: "python"', config.read_text()))
        version = max(config.parent.glob('[1-9]*'), key=lambda item: int(item.name))
        (version / 'model.py').write_text(MODEL)
        session = onnxruntime.InferenceSession(str(version / 'model.onnx'))
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
        probe.close()
        log = f'{folder}/log'
        server = start(folder, port, log)
        try:
            ask = client.InferenceServerClient(f'127.0.0.1:{port}', concurrency=16)
            end = time.time() + 120
            while not ready(ask):
                if time.time() > end or server.poll() is not None:
                    sys.exit(Path(log).read_text()[-2000:])
                time.sleep(0.5)
            report(ask, args, session, feeds)
        finally:
            server.terminate()
            server.wait(60)
        sizes = Counter(map(int, re.findall(r'together (\d+)', Path(log).read_text())))
    print('requests that were run together, and how often: ' + ', '.join(
        f'{size}: {count}' for size, count in sorted(sizes.items())))


def ready(ask: object) -> bool:
    """Whether the server answers."""
    try:
        return ask.is_server_ready()
    except Exception:  # not yet
        return False


def report(ask: object, args: argparse.Namespace, session: object, feeds: list) -> None:
    """Send every input several times at once; print how far the answers are."""
    import tritonclient.http as client
    names = [item.name for item in session.get_outputs()]
    source = session.get_inputs()[0].name
    told = ask.get_model_config(args.name)
    print(f'Triton {ask.get_server_metadata()["version"]} took {args.name}: max_batch_size '
          f'{told["max_batch_size"]}, {len(told["parameters"])} parameters')

    def send(feed: np.ndarray) -> object:
        tensor = client.InferInput(source, list(feed.shape), 'FP32')
        tensor.set_data_from_numpy(feed)
        return ask.async_infer(args.name, [tensor])

    expected = [session.run(names, {source: feed}) for feed in feeds]
    answers = [sent.get_result() for sent in [send(feed) for feed in feeds * args.rounds]]
    found = [[answer.as_numpy(name) for name in names] for answer in answers]
    for place, name in enumerate(names):
        worst = max(float(np.abs(got[place].astype(float) - want[place]).max())
                    for got, want in zip(found, expected * args.rounds))
        print(f'{len(found)} answers, largest difference from the file alone, {name}: {worst:.2g}')


if __name__ == '__main__':
    main()
