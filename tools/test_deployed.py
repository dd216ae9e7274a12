"""Evaluate an exported file with the config's evaluator, beside PyTorch.

The exported file and the checkpoint see the same images and the same metric;
the table shows both and the difference.
"""
import json
from typing import Any, Dict, List, Optional

from mmengine.config import Config

from mmyolonas.deploy.tool_support import deploy_errors
from mmyolonas.engine.data_check import check_data
from mmyolonas.utils.checkpoints import check_checkpoint
from mmyolonas.utils.cli import add_cfg_options, new_parser, run_main
from mmyolonas.utils.configs import load_config
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import write_text
from mmyolonas.utils.outputs import check_file, check_folder

EXAMPLES = '''examples:
  python tools/test_deployed.py configs/deploy/detection_onnxruntime_static.py \\
      configs/yolonas/yolonas_s_bccd.py --model deployed/end2end.onnx --checkpoint best.pth
  python tools/test_deployed.py configs/deploy/detection_openvino_static.py \\
      configs/yolonas/yolonas_s_bccd.py --model deployed/end2end.xml'''


def parse_args():
    """Return the command line's options."""
    parser = new_parser(__doc__, EXAMPLES)
    parser.add_argument('deploy_cfg', help='deploy config of the exported file')
    parser.add_argument('model_cfg', help='model config with the test data')
    parser.add_argument('--model', nargs='+', required=True, help='exported file(s)')
    parser.add_argument('--checkpoint', help='weights, to evaluate PyTorch too')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--work-dir', default='deployed', help='folder for the log')
    parser.add_argument('--out', metavar='FILE.json', help='write the metrics')
    add_cfg_options(parser)
    return parser.parse_args()


def evaluate(task: Any, model: Any, work_dir: str) -> Dict[str, float]:
    """Run the test loop of a task and return the metrics."""
    runner = task.build_test_runner(model, work_dir)
    return {name: float(value) for name, value in runner.test().items()}


def run_all(args: Any, deploy_cfg: Config, model_cfg: Config) -> Dict[str, Dict[str, float]]:
    """Return the metrics of every file and of PyTorch by name."""
    from mmdeploy.apis import build_task_processor
    results = {}
    for path in args.model:
        task = build_task_processor(model_cfg.copy(), deploy_cfg.copy(), args.device)
        model = task.build_backend_model([path], task.update_data_preprocessor)
        results[path] = evaluate(task, model, args.work_dir)
    if args.checkpoint:
        task = build_task_processor(model_cfg.copy(), deploy_cfg.copy(), args.device)
        results['PyTorch'] = evaluate(task, task.build_pytorch_model(args.checkpoint),
                                      args.work_dir)
    return results


def table(results: Dict[str, Dict[str, float]]) -> str:
    """Return a table of metrics, with the difference to PyTorch if it is there."""
    reference: Optional[Dict[str, float]] = results.get('PyTorch')
    names: List[str] = list(results)
    metrics = list(next(iter(results.values())))
    width = max(map(len, metrics))
    lines = [' ' * width + ''.join(f'  {name[-28:]:>28}' for name in names)
             + ('  difference' if reference and len(names) > 1 else '')]
    for metric in metrics:
        values = [results[name].get(metric, float('nan')) for name in names]
        line = f'{metric:<{width}}' + ''.join(f'  {value:>28.4f}' for value in values)
        if reference and len(names) > 1:
            line += f'  {values[0] - reference[metric]:>+10.4f}'
        lines.append(line)
    return '\n'.join(lines)


def main() -> None:
    """Run the tool."""
    args = parse_args()
    deploy_cfg = load_config(args.deploy_cfg)
    model_cfg = load_config(args.model_cfg, args.cfg_options)
    if args.checkpoint:
        check_checkpoint(args.checkpoint)
    check_folder(args.work_dir)
    check_file(args.out)
    check_data(model_cfg, ('test_dataloader', ))
    if 'codebase_config' not in deploy_cfg:
        raise UserError(f'{args.deploy_cfg} is no deploy config; choose one of configs/deploy.')
    with deploy_errors():
        from mmyolonas.utils.optional import require
        require('mmdeploy', 'Evaluating an exported file')
        results = run_all(args, deploy_cfg, model_cfg)
    print(table(results))
    if args.out:
        write_text(args.out, json.dumps(results, indent=2))


if __name__ == '__main__':
    run_main(main)
