"""How many requests the example server (demo/serve.py) answers, how fast, and whether all.

Starts the server on the loopback and sends it pictures over connections that stay open: closed
loops (every client sends its next request when it has its answer), and at last more clients than
may wait, so that some are turned away. An answer of 503 with Retry-After counts as answered; a
connection that breaks, an answer of another kind, or boxes that are not those of the file run
alone count as lost. Client and server share the processor.
"""
import argparse
import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import List, Sequence

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mmyolonas.utils import arguments  # noqa: E402
from mmyolonas.utils.cli import new_parser, run_main  # noqa: E402
from mmyolonas.utils.errors import UserError  # noqa: E402
from mmyolonas.utils.files import write_json  # noqa: E402
from mmyolonas.utils.images import find_images  # noqa: E402


@dataclass
class Load:
    """One number of clients.

    Args:
        clients (int): Connections.
        sent (int): Requests.
        answered (int): 200, with the right boxes.
        refused (int): 503 with Retry-After.
        lost (int): Anything else.
        per_second (float): Answers of 200 a second.
        p50 (float): Median of their milliseconds.
        p99 (float): The 99th percentile.
        processor (float): Milliseconds of the server's processor time for each answer of 200,
            which other work on the machine does not distort.
    """
    clients: int
    sent: int
    answered: int
    refused: int
    lost: int
    per_second: float
    p50: float
    p99: float
    processor: float


class Client(threading.Thread):
    """Sends one request after the other until a moment.

    Args:
        port (int): The server's.
        bodies (Sequence[bytes]): Pictures.
        expected (Sequence[list]): Their detections, from the server with one client.
        end (float): When to stop, by ``time.perf_counter``.
        first (int): Picture to begin with.
    """

    def __init__(self, port: int, bodies: Sequence[bytes], expected: Sequence[list], end: float,
                 first: int) -> None:
        super().__init__()
        self.port, self.bodies, self.expected, self.end = port, bodies, expected, end
        self.index, self.counts, self.times = first, Counter(), []

    def run(self) -> None:
        """Send."""
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=60)
        while time.perf_counter() < self.end:
            index, start = self.index % len(self.bodies), time.perf_counter()
            self.index += 1
            self.counts['sent'] += 1
            try:
                connection.request('POST', '/detect', self.bodies[index])
                answer = connection.getresponse()
                body = json.loads(answer.read())
            except (OSError, http.client.HTTPException, ValueError):
                self.counts['lost'] += 1
                connection.close()
                continue
            if answer.status == 503 and answer.getheader('Retry-After'):
                self.counts['refused'] += 1
                time.sleep(0.02)  # a client that is turned away and does not wait as told
            elif answer.status == 200 and same(body['detections'], self.expected[index]):
                self.counts['answered'] += 1
                self.times.append(time.perf_counter() - start)
            else:
                self.counts['lost'] += 1
        connection.close()


def same(found: list, expected: list) -> bool:
    """Whether detections are equal but for the rounding of other batches."""
    return len(found) == len(expected) and all(
        a['label'] == b['label'] and abs(a['score'] - b['score']) < 0.002
        and np.abs(np.subtract(a['box'], b['box'])).max() < 0.1
        for a, b in zip(found, expected))


def processor_seconds(pid: int) -> float:
    """Return what a process has used, on Linux; NaN elsewhere."""
    try:
        fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    except OSError:
        return float('nan')
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def measure(port: int, pid: int, bodies: Sequence[bytes], expected: Sequence[list], clients: int,
            seconds: float) -> Load:
    """Run a number of clients at a time."""
    used, start = processor_seconds(pid), time.perf_counter()
    threads = [Client(port, bodies, expected, start + seconds, index) for index in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    passed = time.perf_counter() - start
    counts = sum((thread.counts for thread in threads), Counter())
    times = np.array([value for thread in threads for value in thread.times] or [np.nan]) * 1e3
    return Load(clients, counts['sent'], counts['answered'], counts['refused'], counts['lost'],
                counts['answered'] / passed, *map(float, np.percentile(times, [50, 99])),
                (processor_seconds(pid) - used) * 1e3 / max(counts['answered'], 1))


def alone(model: str, paths: Sequence[str], score_thr: float) -> List[list]:
    """Return what the file finds without a server."""
    from mmyolonas.inference.server import as_json
    from mmyolonas.runtime.runtime import Runtime
    with Runtime(model) as runtime:
        return [as_json(runtime(path).above(score_thr))['detections'] for path in paths]


def start(args: argparse.Namespace, port: int) -> subprocess.Popen:
    """Start the server, wait until it is ready."""
    env = dict(os.environ, PYTHONPATH=os.pathsep.join(
        filter(None, [str(ROOT), os.environ.get('PYTHONPATH')])))
    server = subprocess.Popen(
        [args.python, str(ROOT / 'demo/serve.py'), args.model, '--port', str(port), '--max-batch',
         str(args.max_batch), '--max-waiting', str(args.max_waiting), '--max-delay',
         str(args.max_delay), *(['--threads', str(args.threads)] if args.threads else [])], env=env)
    for _ in range(600):
        try:
            connection = http.client.HTTPConnection('127.0.0.1', port, timeout=5)
            connection.request('GET', '/ready')
            if connection.getresponse().status == 200:
                return server
        except OSError:
            if server.poll() is not None:
                break
            time.sleep(0.2)
    server.kill()
    raise UserError('the server did not start; what it said is above.')


def parse_args() -> argparse.Namespace:
    """Return the command line's options."""
    parser = new_parser(__doc__, '''examples:
  python benchmarks/serving.py deployed/end2end.onnx data/sample_shapes/val --clients 1 8 200''')
    parser.add_argument('model', help='exported file, of a *_dynamic-batch config')
    parser.add_argument('images', help='folder of pictures')
    parser.add_argument('--python', default=sys.executable, help='interpreter with fastapi and '
                        'uvicorn (default: this one)')
    parser.add_argument('--clients', nargs='+', type=arguments.positive_int,
                        default=[1, 4, 16, 48, 200])
    parser.add_argument('--seconds', type=float, default=10., help='of each (default: 10)')
    parser.add_argument('--max-batch', type=arguments.positive_int, default=8)
    parser.add_argument('--max-waiting', type=arguments.positive_int, default=64)
    parser.add_argument('--max-delay', type=float, default=5.)
    parser.add_argument('--threads', type=arguments.positive_int)
    parser.add_argument('--json', type=Path, help='write the figures')
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    args = parse_args()
    paths = [str(path) for path in find_images([args.images])][:32]
    bodies, expected = [Path(path).read_bytes() for path in paths], alone(args.model, paths, 0.25)
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    server, loads = start(args, port), []
    try:
        print('| clients | sent | answered | 503 | lost | a second | p50 ms | p99 ms | '
              'processor, ms |\n|---|---|---|---|---|---|---|---|---|')
        measure(port, server.pid, bodies, expected, 1, 1.)  # warm
        for clients in args.clients:
            loads.append(measure(port, server.pid, bodies, expected, clients,
                                 args.seconds))
            load = loads[-1]
            print(f'| {clients} | {load.sent} | {load.answered} | {load.refused} | {load.lost} | '
                  f'{load.per_second:.1f} | {load.p50:.0f} | {load.p99:.0f} | '
                  f'{load.processor:.0f} |', flush=True)
    finally:
        server.terminate()
        server.wait(60)
    if args.json:
        write_json(str(args.json), [asdict(load) for load in loads])
    if any(load.lost for load in loads):
        raise SystemExit(1)


if __name__ == '__main__':
    run_main(main)
