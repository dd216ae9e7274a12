"""Export a checkpoint to ONNX, OpenVINO, TensorRT, ncnn, MNN, TFLite, ...

Writes end2end.onnx and the backend's file to --work-dir, compares the ONNX
file with PyTorch, the file of a further target (configs/deploy/detection_ncnn.py,
mnn, tflite, opencv, executorch, coreml, rknn) with ONNX Runtime on the images,
and draws what it finds in the image. --serve also puts the file into the model
repository of Triton or OpenVINO Model Server.
"""
import os
from typing import Any, List, Optional

from mmyolonas.deploy.pipeline import (
    DeployReport,
    complete_file,
    convert,
    dump_sdk_info,
    export_checkpoint,
)
from mmyolonas.deploy.serving import ServeOptions, write_repository
from mmyolonas.deploy.targets.driver import check_target
from mmyolonas.deploy.targets.table import TARGETS
from mmyolonas.deploy.tool_support import deploy_errors
from mmyolonas.runtime.factory import check_device
from mmyolonas.utils import arguments
from mmyolonas.utils.checkpoints import check_checkpoint
from mmyolonas.utils.cli import add_cfg_options, new_parser, run_main
from mmyolonas.utils.configs import load_config
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.outputs import check_folder

EXAMPLES = '''examples:
  python tools/deploy.py configs/deploy/detection_onnxruntime_static.py \\
      configs/yolonas/yolonas_s_coco.py yolonas_s.pth image.jpg --work-dir deployed
  python tools/deploy.py configs/deploy/pose_openvino_static.py \\
      configs/yolonas_pose/yolonas_pose_n_coco.py pose_n.pth image.jpg --work-dir deployed
  python tools/deploy.py configs/deploy/detection_tensorrt-int8.py \\
      configs/yolonas/yolonas_s_coco.py yolonas_s.pth image.jpg --onnx yolonas_s_int8.onnx
  python tools/deploy.py configs/deploy/detection_rknn.py configs/yolonas/yolonas_s_coco.py \\
      yolonas_s.pth image.jpg --converter-python .venv-rknn/bin/python \\
      --cfg-options backend_config.calib_images=data/coco/train2017
  python tools/deploy.py configs/deploy/detection_onnxruntime_dynamic-batch.py \\
      configs/yolonas/yolonas_s_coco.py yolonas_s.pth image.jpg --serve triton models
  python tools/deploy.py configs/deploy/detection_openvino_dynamic-batch.py \\
      configs/yolonas/yolonas_s_coco.py yolonas_s.pth image.jpg --serve ovms models \\
      --model-name yolonas_s_int8 --cfg-options quantize.ranges=work_dirs/int8/ranges.json'''


def parse_args():
    """Return the command line's options."""
    parser = new_parser(__doc__, EXAMPLES)
    parser.add_argument('deploy_cfg', help='deploy config, see configs/deploy')
    parser.add_argument('model_cfg', help='model config')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('img', help='image to draw the results on')
    parser.add_argument('--test-img', nargs='+', default=None, metavar='IMG',
                        help='images to draw instead of IMG')
    parser.add_argument('--work-dir', default='deployed', help='folder to write to '
                        '(default: deployed)')
    parser.add_argument('--device', default='cpu', help='device the result is tried on '
                        '(default: cpu); the export itself runs on the CPU')
    parser.add_argument('--onnx', metavar='FILE', help='take this ONNX file, for example a '
                        'quantised one, instead of exporting the checkpoint; suppression and '
                        'description are added if it ends with the boxes of all priors')
    parser.add_argument('--converter-python', metavar='PYTHON', help='interpreter of the '
                        'environment that has the converter, where its requirements clash with '
                        "this one's (default: this one)")
    parser.add_argument('--serve', nargs=2, metavar=('SERVER', 'DIR'), help='add the file to a '
                        'model repository: SERVER is triton or ovms (OpenVINO Model Server)')
    parser.add_argument('--model-name', metavar='NAME', help='its name there (default: that of '
                        'the model config)')
    parser.add_argument('--max-batch', type=arguments.positive_int, default=8,
                        help='images that Triton runs together, at most (default: 8)')
    parser.add_argument('--dump-info', action='store_true',
                        help="write the description for mmdeploy's SDK (detection)")
    parser.add_argument('--show', action='store_true', help='show the pictures in a window')
    parser.add_argument('--no-picture', action='store_true', help='draw nothing')
    parser.add_argument('--log-level', default='INFO', help="level of mmdeploy's messages")
    add_cfg_options(parser)
    return parser.parse_args()


def draw(report: DeployReport, images: List[str], args: Any) -> Optional[List[str]]:
    """Write pictures of what the exported file finds; None where it cannot run here."""
    from mmyolonas.runtime.drawing import save_picture
    from mmyolonas.runtime.runtime import Runtime
    if report.metadata is None:
        print('the file has no description of ours, so no picture is drawn.')
        return None
    written = []
    try:
        with Runtime(report.model, report.backend, args.device) as runtime:
            for image in images:
                result = runtime(image)
                stem = os.path.splitext(os.path.basename(image))[0]
                path = os.path.join(args.work_dir, f'output_{report.backend}_{stem}.jpg')
                picture = result.above(0.3).draw(image)
                save_picture(path, picture)
                written.append(path)
                print(f'{image}: {len(result)} found, those above 0.3 drawn in {path}')
                if args.show:
                    show(picture, path)
    except (RuntimeError, ImportError) as error:
        print(f'no picture: {error}')
        return None
    return written


def show(picture: Any, title: str) -> None:
    """Show a picture until a key is pressed, if there is a screen."""
    import cv2
    try:
        cv2.imshow(title, picture)
        cv2.waitKey(0)
    except cv2.error:
        print('there is no window system; look at the file instead.')


def check_backend(deploy_cfg: Any, args: Any) -> None:
    """Raise if what the config asks for cannot be done, before the export."""
    config = deploy_cfg.backend_config
    if args.converter_python:
        if config.get('type') not in TARGETS:
            raise UserError(f'--converter-python is for {", ".join(TARGETS)}; '
                            f'{config.get("type")} is made in this environment.')
        config.python = args.converter_python
    if config.get('type') in TARGETS:
        post = deploy_cfg.codebase_config.get('post_processing') or {}
        check_target(config, post.get('nms_type', 'onnx'), not args.onnx)
    if not args.no_picture:
        check_device(config.get('type'), args.device)


def runs_here(backend: str) -> bool:
    """Whether something on this machine runs the backend's files."""
    return backend not in TARGETS or TARGETS[backend].runner == 'session'


def serve_options(deploy_cfg: Any, args: Any) -> Optional[ServeOptions]:
    """Return where the file is served, checked; None for nowhere."""
    if not args.serve:
        return None
    name = args.model_name or os.path.splitext(os.path.basename(args.model_cfg))[0]
    options = ServeOptions(*args.serve, name, args.max_batch)
    options.check(deploy_cfg.backend_config.type)
    return options


def serve(options: ServeOptions, report: DeployReport, deploy_cfg: Any) -> None:
    """Put the file into the repository."""
    config = deploy_cfg.backend_config
    profile = config.get('batch', {}).get('max') if config.type == 'tensorrt' else None
    files, said = write_repository(options, report.model, config.type, report.onnx, profile)
    report.files += files
    report.notes += said


def size_of(path: str) -> int:
    """Return the bytes of a file, or of all files of a folder."""
    if os.path.isfile(path):
        return os.path.getsize(path)
    return sum(os.path.getsize(os.path.join(folder, name))
               for folder, _, names in os.walk(path) for name in names)


def main() -> None:
    """Run the tool."""
    args = parse_args()
    deploy_cfg = load_config(args.deploy_cfg, args.cfg_options)
    model_cfg = load_config(args.model_cfg)
    images = args.test_img or [args.img]
    for image in images:
        if not os.path.isfile(image):
            raise UserError(f'image {image} does not exist.')
    if 'codebase_config' not in deploy_cfg or 'backend_config' not in deploy_cfg:
        raise UserError(f'{args.deploy_cfg} is no deploy config; choose one of configs/deploy.')
    check_folder(args.work_dir)
    check_backend(deploy_cfg, args)
    served = serve_options(deploy_cfg, args)
    int8 = deploy_cfg.backend_config.get('common_config', {}).get('int8_mode')
    if int8 and not args.onnx and not deploy_cfg.get('quantize'):
        raise UserError('an int8 config needs a quantised file: make one with tools/quantize.py '
                        'and give it as --onnx FILE, or take a config with quantize=dict(...), '
                        'such as detection_tensorrt-int8-selective_640.py.')
    with deploy_errors(args.log_level):
        if args.onnx:
            made = complete_file(deploy_cfg, model_cfg, args.onnx, args.work_dir)
        else:
            check_checkpoint(args.checkpoint)
            print('exporting to ONNX ...', flush=True)
            made = export_checkpoint(deploy_cfg, model_cfg, args.checkpoint, args.work_dir,
                                     args.img)
        if deploy_cfg.backend_config.type != 'onnxruntime':
            print(f'converting to {deploy_cfg.backend_config.type} ...', flush=True)
        report = convert(deploy_cfg, made.onnx, args.work_dir, images)
        report.errors, report.metadata = made.errors, made.metadata
        report.files += made.files
        if args.dump_info:
            report.files += dump_sdk_info(deploy_cfg, model_cfg, args.work_dir, args.checkpoint)
        if served:
            serve(served, report, deploy_cfg)
    for name, error in report.errors.items():
        print(f'largest difference between ONNX Runtime and PyTorch, {name}: {error:.2g}')
    for path in dict.fromkeys([report.onnx, report.model, *report.files]):
        print(f'wrote {path} ({size_of(path) / 2**20:.1f} MiB)')
    print('\n'.join(report.notes), end='\n' if report.notes else '')
    if not args.no_picture and runs_here(report.backend):
        draw(report, images, args)


if __name__ == '__main__':
    run_main(main)
