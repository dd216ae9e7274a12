"""Evaluate a checkpoint on the test set of a config."""
from mmengine.config import Config

from mmyolonas.engine.data_check import check_data
from mmyolonas.engine.running import build_runner, prepare_run
from mmyolonas.utils import arguments
from mmyolonas.utils.building import switch_to_deploy
from mmyolonas.utils.checkpoints import check_checkpoint
from mmyolonas.utils.cli import add_config_options, add_run_options, new_parser, run_main
from mmyolonas.utils.configs import load_config
from mmyolonas.utils.errors import UserError, refuse_not_numbers
from mmyolonas.utils.outputs import check_distinct, check_file

EXAMPLES = '''examples:
  python tools/test.py configs/yolonas/yolonas_s_coco.py yolonas_s.pth
  python tools/test.py configs/yolonas/yolonas_s_bccd.py runs/bccd/epoch_80.pth --show-dir drawn
  python tools/test.py configs/yolonas/yolonas_s_coco.py yolonas_s.pth --fuse --out results.pkl'''


def parse_args():
    """Return the command line's options."""
    parser = new_parser(__doc__, EXAMPLES)
    add_config_options(parser)
    parser.add_argument('checkpoint', help='checkpoint file')
    add_run_options(parser)
    parser.add_argument('--out', metavar='FILE.pkl', help='write the predictions to a pickle file')
    parser.add_argument('--show', action='store_true', help='show the predictions in a window')
    parser.add_argument('--show-dir', help='write drawn predictions to this folder, which lies '
                        'within the work folder')
    parser.add_argument('--wait-time', type=arguments.not_negative, default=2,
                        help='seconds to show each image')
    parser.add_argument('--fuse', action='store_true', help='evaluate the re-parameterised model')
    parser.add_argument('--tta', action='store_true', help='use the test-time augmentation of the '
                        "config's tta_model and tta_pipeline")
    return parser.parse_args()


def draw_predictions(cfg: Config, args) -> None:
    """Switch the config's visualisation hook on, mmdet's or mmpose's."""
    hook = cfg.get('default_hooks', {}).get('visualization')
    if hook is None:
        raise UserError(
            '--show and --show-dir need a visualisation hook in the config, for example '
            "default_hooks=dict(visualization=dict(type='DetVisualizationHook')).")
    pose = 'Pose' in hook['type']
    hook['enable' if pose else 'draw'] = True
    if args.show:
        hook.update(show=True, wait_time=args.wait_time)
    if args.show_dir:
        hook['out_dir' if pose else 'test_out_dir'] = args.show_dir


def use_tta(cfg: Config) -> None:
    """Wrap the model and exchange the pipeline for test-time augmentation."""
    if 'tta_model' not in cfg or 'tta_pipeline' not in cfg:
        raise UserError('--tta needs tta_model and tta_pipeline in the config.')
    cfg.model = dict(**cfg.tta_model, module=cfg.model)
    dataset = cfg.test_dataloader.dataset
    while 'dataset' in dataset:
        dataset = dataset.dataset
    dataset.pipeline = cfg.tta_pipeline


def main() -> None:
    """Run the tool."""
    args = parse_args()
    refuse_not_numbers()
    check_file(args.out, suffixes=('.pkl', '.pickle'))
    if args.fuse and args.tta:
        raise UserError('--fuse and --tta cannot be combined.')
    cfg = load_config(args.config, args.cfg_options)
    prepare_run(cfg, args)
    check_distinct({'--out': args.out}, {'the checkpoint': args.checkpoint})
    cfg.load_from = check_checkpoint(args.checkpoint)
    # the average of a training plays no part here, and costs a copy of the model
    cfg.custom_hooks = [
        hook for hook in cfg.get('custom_hooks') or [] if 'EMA' not in hook['type']]
    if args.show or args.show_dir:
        draw_predictions(cfg, args)
    if args.tta:
        use_tta(cfg)
    check_data(cfg, ('test_dataloader', ))
    runner = build_runner(cfg)
    if args.out:
        from mmyolonas.evaluation.dump_results import AtomicDumpResults
        runner.test_evaluator.metrics.append(AtomicDumpResults(out_file_path=args.out))
    if args.fuse:
        runner.load_checkpoint(args.checkpoint)
        switch_to_deploy(getattr(runner.model, 'module', runner.model))
    runner.test()


if __name__ == '__main__':
    run_main(main)
