"""From configs and a checkpoint to the files of a backend; what ``tools/deploy.py`` does."""
import os
import tempfile
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from mmyolonas.export.config_metadata import (
    metadata_from_config,
    network_config,
    test_pipeline,
)
from mmyolonas.export.metadata import ModelMetadata
from mmyolonas.utils.checkpoint_match import state_of
from mmyolonas.utils.checkpoints import check_checkpoint
from mmyolonas.utils.configs import config_errors

OURS = 'mmyolonas'
#: Beside :data:`mmyolonas.deploy.targets.table.TARGETS`.
BACKENDS = ('onnxruntime', 'openvino', 'tensorrt')


@dataclass
class DeployReport:
    """What was made.

    Args:
        onnx (str): ONNX file.
        model (str): File the backend loads.
        backend (str): Runtime.
        errors (dict[str, float]): Differences from PyTorch; see
            :class:`mmyolonas.export.export.ExportReport`.
        metadata (ModelMetadata, optional): Description stored in the file.
        files (list[str]): Everything else that was written.
        notes (list[str]): What a converter has to say; how its file compares.
    """
    onnx: str
    model: str
    backend: str
    errors: Dict[str, float] = field(default_factory=dict)
    metadata: Optional[ModelMetadata] = None
    files: List[str] = field(default_factory=list)
    notes: List[str] = field(default_factory=list)


def load_model(model_cfg: Any, checkpoint: Optional[str]) -> Any:
    """Build a model on the CPU and load a checkpoint.

    Raises:
        UserError: The file is missing or damaged.
        ValueError: The checkpoint belongs to another model.
    """
    from mmengine.model import revert_sync_batchnorm
    from mmengine.registry import MODELS, init_default_scope
    from mmengine.runner.checkpoint import CheckpointLoader

    import mmyolonas.models  # noqa: F401
    if checkpoint:
        check_checkpoint(checkpoint)
    is_pose = 'head' in network_config(model_cfg)
    scope = model_cfg.get('default_scope') or ('mmpose' if is_pose else 'mmdet')
    _register_host(scope)
    init_default_scope(scope)
    cfg = model_cfg.model.copy()
    if model_cfg.get('data_preprocessor') and 'data_preprocessor' not in cfg:
        cfg.data_preprocessor = model_cfg.data_preprocessor
    with config_errors():
        model = revert_sync_batchnorm(MODELS.build(cfg))
    if checkpoint:
        try:
            content = CheckpointLoader.load_checkpoint(checkpoint, 'cpu', logger='silent')
            model.load_state_dict(state_of(content, checkpoint), strict=True)
        except RuntimeError as error:
            first = str(error).splitlines()[:4]
            raise ValueError(f'checkpoint {checkpoint} does not fit the config: '
                             f'{" ".join(line.strip() for line in first)}') from error
    return model.eval()


def _register_host(scope: str) -> None:
    """Register what the host package of a scope has."""
    if scope == 'mmpose':
        from mmyolonas.utils.optional import require
        require('mmpose', 'A pose config')
        from mmpose.utils import register_all_modules
    elif scope == 'mmdet':
        from mmdet.utils import register_all_modules
    else:
        return
    register_all_modules(init_default_scope=False)


def export_settings(deploy_cfg: Any, metadata: ModelMetadata) -> Tuple[List[int], str]:
    """Return input shape and kind of dynamic axes of a deploy config.

    Raises:
        ValueError: Neither config says how large the input is.
    """
    onnx_config = deploy_cfg.onnx_config
    size = onnx_config.get('input_shape') or metadata.input_size
    if not size:
        raise ValueError('neither the deploy config (onnx_config.input_shape) nor the test '
                         'pipeline gives the input size; set onnx_config.input_shape=(w, h).')
    axes = (onnx_config.get('dynamic_axes') or {}).get('input', {})
    dynamic = 'shape' if 2 in axes or 3 in axes else 'batch' if 0 in axes else 'none'
    return [int(onnx_config.get('batch_size', 1)), 3, int(size[1]), int(size[0])], dynamic


def export_checkpoint(deploy_cfg: Any, model_cfg: Any, checkpoint: Optional[str],
                      work_dir: str, image: Optional[str] = None) -> DeployReport:
    """Export a checkpoint to the ONNX file that a deploy config describes.

    Args:
        deploy_cfg (Config): Deploy config.
        model_cfg (Config): Model config.
        checkpoint (str, optional): Weights; None for untrained ones.
        work_dir (str): Folder to write to.
        image (str, optional): Image to trace mmdeploy's base line with.

    Returns:
        DeployReport: ``onnx`` and ``model`` are the ONNX file.
    """
    path = os.path.join(work_dir, deploy_cfg.onnx_config.save_file)
    if deploy_cfg.codebase_config.type != OURS:
        return _export_with_mmdeploy(deploy_cfg, model_cfg, checkpoint, work_dir, image)
    metadata = metadata_from_config(model_cfg, deploy_cfg)
    shape, dynamic = export_settings(deploy_cfg, metadata)
    model = load_model(model_cfg, checkpoint)
    write = partial(_write, metadata=metadata, shape=shape, dynamic=dynamic,
                    opset=deploy_cfg.onnx_config.get('opset_version', 17))
    report = (_write_int8(write, model, path, model_cfg, deploy_cfg)
              if deploy_cfg.get('quantize') else write(model, path))
    files = _companions(report.path, report.metadata)
    if needs_program(deploy_cfg):
        from mmyolonas.export.program import export_program
        files.append(program_path(path))
        export_program(model, files[-1], shape, report.metadata.postprocess.nms, report.metadata)
    return DeployReport(report.path, report.path, 'onnxruntime', report.errors, report.metadata,
                        files)


def _write(model: Any, path: str, metadata: ModelMetadata, shape: List[int], dynamic: str,
           opset: int, fold_shortcuts: bool = True) -> Any:
    from mmyolonas.export.export import export_onnx
    return export_onnx(model, path, shape, metadata=metadata, dynamic=dynamic, opset=opset,
                       fold_shortcuts=fold_shortcuts)


def _write_int8(write: Callable, model: Any, path: str, model_cfg: Any, deploy_cfg: Any) -> Any:
    """Export and quantise; an interrupted call leaves no float file under the 8-bit one's name."""
    from mmyolonas.quantization import fuse_model
    from mmyolonas.quantization.deploying import check_settings, quantise_file
    settings, config = check_settings(dict(deploy_cfg.quantize)), deploy_cfg.backend_config
    runtime = config.get('package', config.type) if config.type == 'tensorrt' else config.type
    model = fuse_model(model)  # the ranges belong to the fused model, shortcut scales in place
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix='.float_') as place:
        report = write(model, os.path.join(place, 'float.onnx'), fold_shortcuts=False)
        quantise_file(report.path, model, model_cfg, settings, runtime, path)
    report.path = os.path.abspath(path)
    return report


def needs_program(deploy_cfg: Any) -> bool:
    """Whether a deploy config's backend is made of a ``torch.export`` program."""
    from mmyolonas.deploy.targets.table import TARGETS
    target = TARGETS.get(deploy_cfg.backend_config.type)
    return target is not None and target.source == 'program'


def program_path(onnx_path: str) -> str:
    """Return the name of the program beside an ONNX file."""
    return f'{os.path.splitext(onnx_path)[0]}.pt2'


def _companions(path: str, metadata: ModelMetadata) -> List[str]:
    """Write what a flavour's reader needs beside the file."""
    if metadata.postprocess.nms != 'deepstream':
        return []
    from mmyolonas.export.flavours.deepstream import write_deepstream_files
    return write_deepstream_files(path, metadata)


def _export_with_mmdeploy(deploy_cfg: Any, model_cfg: Any, checkpoint: Optional[str],
                          work_dir: str, image: Optional[str]) -> DeployReport:
    """Trace with mmdeploy's own rewriters, on copies of the configs."""
    from mmyolonas import compat
    from mmyolonas.utils.optional import require
    compat.export_with_torchscript()
    require('mmdeploy', 'The base line')
    from mmdeploy.apis import torch2onnx
    from mmdeploy.apis.core.pipeline_manager import no_mp
    name = deploy_cfg.onnx_config.save_file
    model_cfg = model_cfg.copy()
    model_cfg.setdefault('test_pipeline', test_pipeline(model_cfg))
    with no_mp():
        torch2onnx(image, work_dir, name, deploy_cfg.copy(), model_cfg, checkpoint, 'cpu')
    path = os.path.join(work_dir, name)
    return DeployReport(path, path, 'onnxruntime')


def complete_file(deploy_cfg: Any, model_cfg: Any, onnx_path: str, work_dir: str) -> DeployReport:
    """Give an ONNX file what a deploy config asks for: suppression, description, raw pixels.

    A file that suppresses already is taken as it is.

    Args:
        deploy_cfg (Config): Deploy config.
        model_cfg (Config): Model config of the file.
        onnx_path (str): ONNX file, for example a quantised one.
        work_dir (str): Folder to write to.

    Returns:
        DeployReport: ``onnx`` and ``model`` are the completed file, or ``onnx_path``.

    Raises:
        FileNotFoundError: No such file.
        ValueError: The file does not fit the config.
    """
    from mmyolonas.export.completion import complete_onnx
    from mmyolonas.export.onnx_passes import get_metadata
    described = get_metadata(onnx_path)
    if deploy_cfg.codebase_config.type != OURS or described.postprocess.nms != 'none':
        return DeployReport(onnx_path, onnx_path, 'onnxruntime', metadata=described)
    path = os.path.join(work_dir, deploy_cfg.onnx_config.save_file)
    metadata = metadata_from_config(model_cfg, deploy_cfg)
    metadata.strides = described.strides
    metadata = complete_onnx(onnx_path, path, metadata)
    return DeployReport(path, path, 'onnxruntime', metadata=metadata,
                        files=_companions(path, metadata))


def convert(deploy_cfg: Any, onnx_path: str, work_dir: str,
            images: Sequence[str] = ()) -> DeployReport:
    """Make the file of the deploy config's backend from an ONNX file.

    Args:
        deploy_cfg (Config): Deploy config.
        onnx_path (str): ONNX file, quantised for an int8 config.
        work_dir (str): Folder to write to.
        images (Sequence[str]): Pictures that the file of a further target is compared on.

    Raises:
        UserError: A converter failed.
        ValueError: The backend is not one of ours.
    """
    config = deploy_cfg.backend_config
    stem = os.path.join(work_dir, os.path.splitext(deploy_cfg.onnx_config.save_file)[0])
    if config.type == 'onnxruntime':
        return DeployReport(onnx_path, onnx_path, 'onnxruntime')
    if config.type == 'openvino':
        from mmyolonas.runtime.openvino_ir import convert_openvino
        path = convert_openvino(onnx_path, f'{stem}.xml', config.get('fp16', False))
        return DeployReport(onnx_path, path, 'openvino', files=[f'{stem}.bin'])
    if config.type == 'tensorrt':
        from mmyolonas.deploy.tensorrt_builder import build_engine
        package = config.get('package', 'tensorrt')
        info = build_engine(onnx_path, f'{stem}.engine', package,
                            engine_options(config, onnx_path))
        return DeployReport(onnx_path, info.path, package, files=[f'{info.path}.json'])
    from mmyolonas.deploy.targets.table import TARGETS
    if config.type in TARGETS:
        from mmyolonas.deploy.targets.driver import convert_target
        files, notes = convert_target(config, onnx_path, work_dir, program_path(onnx_path), images)
        return DeployReport(onnx_path, files[0], config.type, files=files[1:], notes=notes)
    raise ValueError(f'backend_config.type must be {", ".join(BACKENDS + tuple(TARGETS))}, got '
                     f'{config.type!r}.')


def engine_options(config: Any, onnx_path: str) -> Any:
    """Read a deploy config's ``backend_config`` for TensorRT.

    ``model_inputs`` is mmdeploy's way to give the shapes; ``batch`` gives the
    batch sizes and takes the rest from the file.
    """
    from mmyolonas.deploy.tensorrt_builder import EngineOptions
    from mmyolonas.export.onnx_passes import load_onnx
    common = config.get('common_config', {})
    half, quantised = common.get('fp16_mode', False), common.get('int8_mode', False)
    precision = {(False, False): 'fp32', (True, False): 'fp16', (False, True): 'int8',
                 (True, True): 'int8_fp16'}[bool(half), bool(quantised)]
    shapes: Dict[str, List[int]] = {}
    model = load_onnx(onnx_path, weights=False)
    sides = model.graph.input[0].type.tensor_type.shape.dim
    free = [bool(side.dim_param) or not side.dim_value for side in sides]
    if config.get('model_inputs'):
        given = config.model_inputs[0].input_shapes[model.graph.input[0].name]
        shapes = {key: list(given[key]) for key in ('min_shape', 'opt_shape', 'max_shape')}
    elif free[0]:
        if any(free[1:]):
            raise ValueError('the ONNX file has free sides; give backend_config.model_inputs '
                             'with min_shape, opt_shape and max_shape.')
        batch = config.get('batch') or dict(min=1, opt=1, max=1)
        rest = [side.dim_value for side in sides[1:]]
        shapes = {f'{key}_shape': [int(batch[key]), *rest] for key in ('min', 'opt', 'max')}
    return EngineOptions(precision=precision, workspace=common.get('max_workspace_size') or None,
                         capability=config.get('capability'), **shapes)


def dump_sdk_info(deploy_cfg: Any, model_cfg: Any, work_dir: str, checkpoint: str) -> List[str]:
    """Write ``deploy.json``, ``pipeline.json`` and ``detail.json`` for mmdeploy's SDK.

    mmdeploy changes the configs it is given, so it gets copies.

    Returns:
        list[str]: The files.

    Raises:
        ValueError: The task or the NMS flavour is not one the SDK serves.
    """
    from mmyolonas.utils.optional import require
    require('mmdeploy', 'The description for the SDK')
    if 'head' in model_cfg.model:
        raise ValueError("mmdeploy's SDK cannot serve one-stage pose; leave --dump-info out and "
                         'use mmyolonas.apis.Runtime.')
    post = deploy_cfg.codebase_config.get('post_processing') or {}
    if post.get('nms_type', 'onnx') != 'onnx' or post.get('preprocess_in_graph'):
        raise ValueError('mmdeploy\'s SDK needs nms_type="onnx" and float input; use a deploy '
                         'config without preprocess_in_graph.')
    from mmdeploy.backend.sdk.export_info import export2SDK
    model_copy = model_cfg.copy()
    export2SDK(deploy_cfg.copy(), model_copy, work_dir, pth=checkpoint, device='cpu')
    return [os.path.join(work_dir, name)
            for name in ('deploy.json', 'pipeline.json', 'detail.json')]
