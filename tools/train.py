"""Train a detector or a pose estimator."""
from mmyolonas.engine.data_check import check_data
from mmyolonas.engine.running import (
    apply_amp,
    apply_auto_scale_lr,
    apply_resume,
    build_runner,
    only_training,
    prepare_run,
)
from mmyolonas.utils.cli import add_config_options, add_run_options, new_parser, run_main
from mmyolonas.utils.configs import load_config

EXAMPLES = '''examples:
  python tools/train.py configs/yolonas/yolonas_s_coco.py
  python tools/train.py configs/yolonas/yolonas_s_bccd.py --work-dir runs/bccd --resume
  python tools/train.py configs/yolonas/yolonas_s_coco.py --cfg-options load_from=s.pth
  bash tools/dist_train.sh configs/yolonas/yolonas_s_coco.py 8 --auto-scale-lr'''


def parse_args():
    """Return the command line's options."""
    parser = new_parser(__doc__, EXAMPLES)
    add_config_options(parser)
    add_run_options(parser)
    parser.add_argument(
        '--amp', action='store_true',
        help='train in mixed precision (single precision where there is no GPU)')
    parser.add_argument(
        '--auto-scale-lr', action='store_true',
        help='scale the learning rate from the batch size of the config to the actual one')
    parser.add_argument(
        '--resume', nargs='?', const='auto', metavar='CHECKPOINT',
        help='continue an interrupted training: from CHECKPOINT, or from the last one in the '
        'work folder; starts from the beginning where there is none')
    return parser.parse_args()


def main() -> None:
    """Run the tool."""
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options)
    prepare_run(cfg, args)
    apply_amp(cfg, args.amp)
    apply_auto_scale_lr(cfg, args.auto_scale_lr)
    apply_resume(cfg, args.resume)
    check_data(cfg, ('train_dataloader', 'val_dataloader'))
    with only_training(cfg):
        build_runner(cfg).train()


if __name__ == '__main__':
    run_main(main)
