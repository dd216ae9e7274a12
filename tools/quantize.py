"""Make 8-bit files of a trained model, and say what they cost and gain.

ptq        calibrate, make everything but the predictions 8 bit
selective  beside that, measure every tensor and weight, choose what becomes 8 bit
           under a budget of AP (or of time), verify the choice on the exported file
qat        take ranges and weights of a quantisation-aware training

Writes to the work folder: float.onnx, ranges.json, int8.onnx, with selective
also selective.onnx, selective.plan.json, costs.json, latency.json, and
report.json with charts. Each 8-bit file is run in its runtime and compared with the
fake-quantised network; the tool says when it is another. The files end with the boxes
and scores of all priors; put suppression behind them with
  python tools/deploy.py DEPLOY_CONFIG CONFIG CHECKPOINT IMAGE --onnx int8.onnx
"""
import copy
import itertools
import os
import time

from mmyolonas.utils import arguments
from mmyolonas.utils.cli import add_config_options, new_parser, run_main
from mmyolonas.utils.configs import load_config
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.locks import only_writer
from mmyolonas.utils.outputs import check_folder

#: Images that a written file is compared on.
CHECK_IMAGES = 4

EXAMPLES = '''examples:
  python tools/quantize.py configs/yolonas/yolonas_s_bccd.py yolonas_s_bccd.pth
  python tools/quantize.py CONFIG CHECKPOINT --method selective --budget-ap 0.3 --runtime openvino
  python tools/quantize.py CONFIG CHECKPOINT --method selective --budget-ms 25
  python tools/quantize.py CONFIG CHECKPOINT --plan work_dirs/int8/selective.plan.json'''


def parse_args():
    """Return the command line's options."""
    parser = new_parser(__doc__, EXAMPLES)
    add_config_options(parser)
    parser.add_argument('checkpoint', help='trained weights, not fused; of a quantisation-aware '
                        'training with --method qat')
    parser.add_argument('--method', choices=('ptq', 'selective', 'qat'), default='ptq',
                        help='see above (default: ptq)')
    parser.add_argument('--runtime', default='onnxruntime',
                        choices=('onnxruntime', 'openvino', 'tensorrt', 'tensorrt_rtx'))
    parser.add_argument('--work-dir', default='work_dirs/int8')
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument('--budget-ap', type=arguments.not_negative, default=0.3,
                        help='selective: points of AP (0..100) that may be lost, by their upper '
                        'bound (default 0.3)')
    budget.add_argument('--budget-ms', type=arguments.positive,
                        help='selective: the most accurate plan within so many milliseconds')
    parser.add_argument('--plan', help='apply a plan instead of making one')
    parser.add_argument('--ranges', help='ranges.json of an earlier run, instead of calibrating')
    parser.add_argument('--calib-images', type=arguments.positive_int, default=64)
    parser.add_argument('--calib-split', choices=('train', 'val', 'test'), default='train')
    parser.add_argument('--calib-method', default='max',
                        choices=('max', 'percentile', 'mse', 'entropy'))
    parser.add_argument('--correction', choices=('none', 'bias', 'equalisation', 'both'),
                        default='none', help='before 8 bit: take the mean error of rounded '
                        'weights out of biases; balance channels through ReLU (default: none)')
    parser.add_argument('--score-images', type=arguments.natural,
                        help='test images for AP, 0 for no AP (default: all)')
    parser.add_argument('--analysis-split', choices=('train', 'val', 'test'), default='val',
                        help='selective: images the choice is made and verified on (default '
                        'val; the report is always of the test images)')
    parser.add_argument('--analysis-images', type=arguments.positive_int,
                        help='selective: how many of them (default: all)')
    parser.add_argument('--noise-images', type=arguments.positive_int, default=16,
                        help='selective: images of them that the noise is measured on')
    parser.add_argument('--noise-plans', type=arguments.positive_int, default=20,
                        help='selective: random plans that are scored to learn what noise costs')
    parser.add_argument('--costs', help='selective: costs.json of an earlier run with the same '
                        '--range (the runtime may be another), instead of measuring')
    parser.add_argument('--frontier', type=arguments.natural, default=5, help='selective: plans '
                        'between float and full INT8 that are written and measured (default 5)')
    parser.add_argument('--latency-table', help='times of the target, instead of measuring')
    parser.add_argument('--input-size', type=arguments.side, nargs=2, metavar=('WIDTH', 'HEIGHT'),
                        help='size of the exported network (default: of the test images)')
    parser.add_argument('--threads', type=arguments.positive_int, default=2)
    parser.add_argument('--repeats', type=arguments.positive_int, default=15,
                        help='timed runs of each file')
    parser.add_argument('--range', choices=('full', 'equal'), default='full',
                        help='onnxruntime and openvino: full (default) gives tensors that cannot '
                        'be negative 255 steps instead of 127, for processors with VNNI; equal '
                        'gives the numbers of TensorRT')
    return parser.parse_args()


def load_float(args, cfg):
    """Return the model as trained and its fused form."""
    from mmyolonas.deploy.pipeline import load_model
    from mmyolonas.quantization import fuse_model
    try:
        model = load_model(cfg, args.checkpoint)
    except ValueError as error:
        raise UserError(str(error)) from error
    return model, fuse_model(model)


def calibration_images(args, cfg, model, size, count):
    """Return ``count`` calibration images, all of the exported size."""
    from mmyolonas.quantization.deploying import network_inputs
    from mmyolonas.quantization.ranges.images import load_samples
    samples = load_samples(cfg, model, args.calib_split, count)
    return list(network_inputs(samples, size, '--input-size', 'leave --input-size out, or take a '
                               'config whose test pipeline makes images of that size.'))


def find_ranges(args, cfg, model, fused, size):
    """Return the ranges, from a file or by calibration; equalise the model where asked to."""
    from mmyolonas.quantization import RangeTable, calibrate, quantise_model
    from mmyolonas.quantization.ranges.correction import bias_corrections, equalise
    table = RangeTable.load(args.ranges) if args.ranges else None
    equalised = args.correction in ('equalisation', 'both') if table is None else table.equalised
    # balanced by the images that the ranges are of: others give other factors
    count = args.calib_images if table is None else table.num_images
    images = calibration_images(args, cfg, model, size, count) if not table or equalised else []
    if equalised:
        print(f'{equalise(fused, images)} tensors equalised')
    if table is not None:
        return table
    quantised = quantise_model(copy.deepcopy(fused))
    table = calibrate(quantised, images, args.calib_images, args.calib_method)
    table.equalised = equalised
    if args.correction in ('bias', 'both'):
        table.corrections = bias_corrections(quantised, images)
    return table


def write_float(args, cfg, fused, size) -> str:
    """Write the fused model as ONNX, with its description."""
    from mmyolonas.export import metadata_from_config
    from mmyolonas.quantization.deploying import export_float
    path = os.path.join(args.work_dir, 'float.onnx')
    try:
        metadata = metadata_from_config(cfg)
    except ValueError as error:
        print(f'the files will not say how images are pre-processed: {error}')
        metadata = None
    export_float(fused, path, (1, 3, *size), metadata=metadata)
    return path


def make_scorer(args, cfg, model, split, num_images, size):
    """Return the scorer of a split's images, or None for no images."""
    from mmyolonas.quantization.choice.scoring import Scorer
    from mmyolonas.quantization.ranges.images import keep_samples, load_samples
    if num_images == 0:
        return None
    samples = keep_samples(load_samples(cfg, model, split, num_images), num_images)
    for sample in samples:
        if tuple(sample.inputs.shape[2:]) != tuple(size):
            height, width = sample.inputs.shape[2:]
            raise UserError(f'the network is exported for {size[1]} x {size[0]} (width x height), '
                            f'the {split} images are {width} x {height}; leave --input-size out, '
                            'or give --score-images 0 and no analysis.')
    return Scorer.from_config(cfg, model, samples, split)


def make_judge(args, cfg, model, size):
    """Return the scorer the choice goes by; None for the report's own."""
    if args.method != 'selective' or args.plan or args.analysis_split == 'test':
        return None
    return make_scorer(args, cfg, model, args.analysis_split, args.analysis_images, size)


def say_images(args, scorer, judge) -> None:
    """Say which images decide and which report, and warn where they are the same."""
    if not args.ranges and args.method != 'qat':
        print(f'calibration: {args.calib_images} images of the {args.calib_split} set')
    if scorer is not None:
        print(f'report: {len(scorer.samples)} images of the test set')
    if args.method != 'selective' or args.plan:
        return
    if judge is None:
        print('WARNING: the choice is made and reported on the same images: the report is better '
              'than other images will be.')
        return
    print(f'choice: {len(judge.samples)} images of the {args.analysis_split} set')
    shared = judge.shared_images(scorer)
    if shared:
        print(f'WARNING: {shared} of these images are among those of the report too (the config '
              f'names the same for {args.analysis_split} and test): the report is better than '
              'other images will be.')


def make_reference(args, cfg, model, fused, table, size):
    """Return what the written files are compared with, on the first test images."""
    from torch.nn.functional import interpolate

    from mmyolonas.quantization.agreement import FakeQuantised
    from mmyolonas.quantization.ranges.images import load_samples
    from mmyolonas.runtime.factory import ONNX_BACKENDS
    images = [interpolate(sample.inputs, size, mode='bilinear').numpy()
              for sample in itertools.islice(load_samples(cfg, model, 'test'), CHECK_IMAGES)]
    full = args.range == 'full' and args.runtime in ONNX_BACKENDS
    return FakeQuantised(fused, table, images, full)


def prepare(args, cfg):
    """Return the workflow of a checkpoint: exported, calibrated, with its scorer."""
    from mmyolonas.quantization.ranges.images import load_samples
    from mmyolonas.quantization.workflow import Workflow
    if args.method == 'qat':
        from mmyolonas.quantization.qat import load_qat
        model, fused, table = load_qat(cfg, args.checkpoint)
    else:
        model, fused = load_float(args, cfg)
        table = None
    size = args.input_size and (args.input_size[1], args.input_size[0])
    if size is None:
        sample = next(iter(load_samples(cfg, model, 'test', 1)))
        size = tuple(sample.inputs.shape[2:])
    start = time.monotonic()
    table = table or find_ranges(args, cfg, model, fused, size)
    table.save(os.path.join(args.work_dir, 'ranges.json'))
    seconds = time.monotonic() - start
    float_onnx = write_float(args, cfg, fused, size)
    scorer = make_scorer(args, cfg, model, 'test', args.score_images, size)
    judge = make_judge(args, cfg, model, size)
    say_images(args, scorer, judge)
    workflow = Workflow(float_onnx, table, args.runtime, args.work_dir,
                        scorer, args.threads, args.range, judge,
                        make_reference(args, cfg, model, fused, table, size))
    workflow.report.seconds['calibration'] = seconds
    return workflow


def main() -> None:
    """Run the tool."""
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options)
    check_folder(args.work_dir)
    os.makedirs(args.work_dir, exist_ok=True)
    with only_writer(args.work_dir):
        quantise(args, cfg)


def choose_plan(args, workflow) -> None:
    """Make the selective plan of a workflow, and its charts."""
    from mmyolonas.quantization.choice.costs import Costs
    from mmyolonas.quantization.choice.plots import plot_costs
    from mmyolonas.quantization.choice.problem import Budget
    budget = Budget(None if args.budget_ms else args.budget_ap, args.budget_ms)
    if args.costs:
        costs = Costs.load(args.costs, workflow.variants.flow)
    else:
        costs = workflow.analyse(args.noise_images, args.noise_plans)
    latency = workflow.latency(args.latency_table, repeats=args.repeats)
    plan = workflow.selective(costs, latency, budget, args.frontier)
    plot_costs(plan, costs, os.path.join(args.work_dir, 'costs.png'))
    if plan.numbers['within_budget']:
        return
    if budget.ms is not None:
        print(f'no plan was measured to take {budget.ms:g} ms or less; the fastest one was '
              'written.')
    else:
        print(f'no plan was found that loses {budget.ap} points or less on these images; the '
              f'written one loses {plan.numbers["verified_ap_loss"]:.2f}.')


def quantise(args, cfg) -> None:
    """Make, measure and report the files."""
    from mmyolonas.quantization.choice.plan import Plan
    from mmyolonas.quantization.choice.plots import plot_report
    plan = Plan.load(args.plan) if args.plan else None
    workflow = prepare(args, cfg)
    workflow.full()
    if plan is not None:
        path = workflow.write(plan, 'planned')
        workflow.add_row('planned', path, plan.int8_groups())
    elif args.method == 'selective':
        choose_plan(args, workflow)
    workflow.time_rows(args.repeats)
    workflow.report.save(os.path.join(args.work_dir, 'report.json'))
    if any(row.latency_ms and row.ap is not None for row in workflow.report.rows):
        from dataclasses import asdict
        plot_report(asdict(workflow.report), os.path.join(args.work_dir, 'report.png'))
    print('\n'.join(workflow.report.lines()))
    print(f'written to {args.work_dir}')
    for name, found in workflow.report.agreement.items():
        if not found.agrees:
            print(found.text(os.path.join(args.work_dir, f'{name}.onnx')))


if __name__ == '__main__':
    run_main(main)
