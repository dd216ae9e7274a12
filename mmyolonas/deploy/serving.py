"""Model repositories of NVIDIA's Triton Inference Server and of OpenVINO Model Server.

Both take ``DIR/NAME/VERSION/`` with the file; Triton reads ``DIR/NAME/config.pbtxt`` beside the
versions, OpenVINO Model Server ``DIR/config.json``. A call adds the next version, or none if the
file is the newest version's already; other models of the folder stay.
"""
import json
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

from filelock import FileLock

from mmyolonas.export.flavours.table import flavour_of
from mmyolonas.export.metadata import ModelMetadata
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import file_digest, read_json, write_json, write_text
from mmyolonas.utils.optional import require
from mmyolonas.utils.outputs import check_folder

SERVERS = ('triton', 'ovms')
#: Backend of Triton and name of the file, by the runtime of a deploy config.
_TRITON = dict(onnxruntime=('onnxruntime', 'model.onnx'), openvino=('openvino', 'model.xml'),
               tensorrt=('tensorrt', 'model.plan'))
_TYPES = dict(float32='TYPE_FP32', float16='TYPE_FP16', uint8='TYPE_UINT8', int64='TYPE_INT64',
              int32='TYPE_INT32')
#: Requests that may wait in Triton; more are refused at once.
MOST_WAITING = 64


@dataclass
class ServeOptions:
    """Where a model is to be served.

    Args:
        kind (str): One of :data:`SERVERS`.
        folder (str): Model repository.
        name (str): Name of the model there.
        max_batch (int): Images that the server runs together, at most. Defaults to 8.
        max_delay (float): Milliseconds that a request waits for others. Defaults to 2.
    """
    kind: str
    folder: str
    name: str
    max_batch: int = 8
    max_delay: float = 2.

    def check(self, backend: str) -> None:
        """Raise unless a runtime's file can be served so, before the work.

        Args:
            backend (str): ``backend_config.type`` of the deploy config.

        Raises:
            UserError: It cannot.
        """
        if self.kind not in SERVERS:
            raise UserError(f'--serve takes {" or ".join(SERVERS)} and a folder, got '
                            f'{self.kind!r}.')
        if not re.fullmatch(r'[A-Za-z0-9][A-Za-z0-9_.-]*', self.name):
            raise UserError(f'the name of a served model has letters, digits, "_", "." and "-", '
                            f'got {self.name!r}; give another one with --model-name.')
        allowed = tuple(_TRITON) if self.kind == 'triton' else ('openvino', )
        if backend not in allowed:
            raise UserError(f'{self.kind} serves files of {", ".join(allowed)}, not of {backend}; '
                            f'take a deploy config such as detection_{allowed[0]}_'
                            'dynamic-batch.py.')
        check_folder(self.folder, '--serve')
        config = Path(self.folder, 'config.json')
        if self.kind == 'ovms' and config.is_file():
            _models(config)


def write_repository(options: ServeOptions, model: str, backend: str, onnx_path: str,
                     max_batch: Optional[int] = None) -> Tuple[List[str], List[str]]:
    """Put a file into a model repository.

    Args:
        options (ServeOptions): Where.
        model (str): The runtime's file.
        backend (str): The runtime.
        onnx_path (str): The ONNX file it was made of, for names, types and shapes.
        max_batch (int, optional): What an engine's profile allows.

    Returns:
        tuple[list[str], list[str]]: Files written, and what is to be said.

    Raises:
        UserError: The repository's own files are damaged.
    """
    props, inputs, outputs = _ports(onnx_path)
    files = [model] + [f'{os.path.splitext(model)[0]}.bin'] * (backend == 'openvino')
    name = _TRITON[backend][1]
    targets = [name] + [f'{os.path.splitext(name)[0]}.bin'] * (backend == 'openvino')
    most = min(options.max_batch, max_batch or options.max_batch)
    rows = 'format' in props and 0 not in [
        axis for axis, name in flavour_of(ModelMetadata.from_props(props).postprocess.nms)
        .batch_axes.items() if name == 'batch']  # of all images below each other
    free = all(shape[:1] == [-1] for _, _, shape in (*inputs, *outputs)) and most > 1 and not rows
    said = [] if free else [
        'one image a request: the file takes a fixed number, or gives rows of all images below '
        'each other, and a server can only put requests together if the first side of all is '
        'free. Export with a *_dynamic-batch config (in 8 bit: from the checkpoint with '
        '--cfg-options quantize.ranges=work_dirs/int8/ranges.json instead of --onnx).']
    folder = Path(options.folder, options.name)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(str(Path(options.folder, f'.{options.name}.lock'))):
        written = []
        if options.kind == 'triton':
            path = folder / 'config.pbtxt'
            write_text(path, triton_config(options, _TRITON[backend][0], props, inputs, outputs,
                                           most if free else 0))
            written.append(str(path))
        version, made = _add_version(folder, files, targets)
        written += made
    if options.kind == 'ovms':
        written.append(_register(options))
    said.append(f'{options.kind}: {options.name}, version {version} in {options.folder}'
                + ('' if made else ' (the file was there already)'))
    return written, said


def _ports(path: str) -> Tuple[Dict[str, str], List[tuple], List[tuple]]:
    """Return properties, inputs and outputs: name, numpy's type, sides (-1: free)."""
    onnx = require('onnx', 'Writing a model repository')
    model: Any = onnx.load(path, load_external_data=False)

    def read(values: Sequence[Any]) -> List[tuple]:
        found = []
        for value in values:
            tensor = value.type.tensor_type
            kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
            if kind not in _TYPES:
                raise UserError(f'{path} has {value.name} of {kind}, which is not served.')
            found.append((value.name, kind, [
                side.dim_value if side.HasField('dim_value') else -1
                for side in tensor.shape.dim]))
        return found

    props = {prop.key: prop.value for prop in model.metadata_props}
    return props, read(model.graph.input), read(model.graph.output)


def _text(value: str) -> str:
    """Return a string of protobuf's text format: JSON's escapes are a part of its own."""
    return json.dumps(value)


def triton_config(options: ServeOptions, backend: str, props: Dict[str, str],
                  inputs: Sequence[tuple], outputs: Sequence[tuple], max_batch: int) -> str:
    """Return ``config.pbtxt``.

    Args:
        options (ServeOptions): Name and limits.
        backend (str): Triton's backend.
        props (dict[str, str]): Description, given to clients as the model's parameters.
        inputs (Sequence[tuple]): Name, type, sides of each.
        outputs (Sequence[tuple]): The same.
        max_batch (int): Images of a batch; 0 if the file takes no batches.

    Returns:
        str: The text.
    """
    lines = [f'name: {_text(options.name)}', f'backend: {_text(backend)}',
             f'max_batch_size: {max_batch}']
    for kind, ports in (('input', inputs), ('output', outputs)):
        items = [f'  {{ name: {_text(name)} data_type: {_TYPES[dtype]} dims: '
                 f'[ {", ".join(map(str, sides[1:] if max_batch else sides))} ] }}'
                 for name, dtype, sides in ports]
        lines += [f'{kind} [', ',\n'.join(items), ']']
    lines.append('version_policy { latest { num_versions: 1 } }')
    if max_batch:
        lines += ['dynamic_batching {',
                  f'  preferred_batch_size: [ {max_batch} ]',
                  f'  max_queue_delay_microseconds: {round(options.max_delay * 1e3)}',
                  f'  default_queue_policy {{ max_queue_size: {MOST_WAITING} }}', '}']
    for key, value in sorted(props.items()):
        lines.append(f'parameters {{ key: {_text(key)} value {{ string_value: {_text(value)} }} }}')
    return '\n'.join(lines) + '\n'


def _add_version(folder: Path, files: Sequence[str], targets: Sequence[str]) -> Tuple[
        int, List[str]]:
    """Add the next version, complete from its first moment; nothing if it is the newest."""
    there = sorted(int(item.name) for item in folder.iterdir()
                   if item.is_dir() and re.fullmatch('[1-9][0-9]*', item.name))
    if there:
        newest = folder / str(there[-1])
        if sorted(os.listdir(newest)) == sorted(targets) and all(
                file_digest(str(newest / target)) == file_digest(file)
                for file, target in zip(files, targets)):
            return there[-1], []
    version = there[-1] + 1 if there else 1
    with tempfile.TemporaryDirectory(prefix='.version-', dir=folder) as scratch:
        whole = Path(scratch, 'whole')
        whole.mkdir()
        for file, target in zip(files, targets):
            shutil.copyfile(file, whole / target)
        os.rename(whole, folder / str(version))
    return version, [str(folder / str(version) / target) for target in targets]


def _models(path: Path) -> Dict[str, Any]:
    def check(values: dict) -> dict:
        for item in values['model_config_list']:
            if not isinstance(item['config']['name'], str):
                raise ValueError('a model without a name')
        return values

    return read_json(str(path), 'the configuration of OpenVINO Model Server', check=check,
                     advice='Mend or remove it.')


def _register(options: ServeOptions) -> str:
    """Write the model's entry of ``config.json``; others stay as they are."""
    path = Path(options.folder, 'config.json')
    # 32 bit, since the plug-in takes bfloat16 where the processor has it
    entry = dict(config=dict(
        name=options.name, base_path=options.name, target_device='CPU',
        model_version_policy=dict(latest=dict(num_versions=1)),
        plugin_config=dict(PERFORMANCE_HINT='THROUGHPUT', INFERENCE_PRECISION_HINT='f32')))
    with FileLock(str(Path(options.folder, '.config.lock'))):
        values: Dict[str, Any] = (_models(path) if path.is_file() else
                                  dict(model_config_list=[]))
        others = [item for item in values['model_config_list']
                  if item['config']['name'] != options.name]
        known = [item for item in values['model_config_list'] if item not in others]
        entry['config'].update(known[0]['config'] if known else {})  # what users have set stays
        write_json(path, dict(values, model_config_list=[*others, entry]))
    return str(path)
