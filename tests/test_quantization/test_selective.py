"""Scores, latencies, the choice and plans."""
import copy
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample

from mmyolonas.quantization import default_layers, find_groups, fuse_model, select
from mmyolonas.quantization.choice.attribution import kernel_owner, profile
from mmyolonas.quantization.choice.costs import Costs, Estimate, Noise
from mmyolonas.quantization.choice.latency import (
    Boundaries,
    LatencyTable,
    find_boundaries,
)
from mmyolonas.quantization.choice.plan import Plan, PlanEntry, full_plan, selection_of
from mmyolonas.quantization.choice.plots import plot_costs, plot_report
from mmyolonas.quantization.choice.problem import Budget, ChoiceProblem, PlanLatency, Terms
from mmyolonas.quantization.choice.scoring import Scorer
from mmyolonas.quantization.choice.variants import Variants
from mmyolonas.quantization.graph.dataflow import analyse
from mmyolonas.quantization.graph.trace import trace
from mmyolonas.quantization.ranges.images import Sample
from mmyolonas.quantization.workflow import Workflow
from mmyolonas.runtime import open_session
from mmyolonas.runtime.kernels import Kernel
from mmyolonas.utils import UserError
from mmyolonas.utils.building import build_model
from mmyolonas.utils.configs import load_config
from tests.run_tool import run_tool

from .conftest import SIZE, build_tiny, images


@pytest.fixture(scope='module')
def samples():
    return [Sample(image, DetDataSample(metainfo=dict(
        img_id=index + 1, img_shape=(SIZE, SIZE), ori_shape=(SIZE, SIZE), scale_factor=(1., 1.),
        batch_input_shape=(SIZE, SIZE)))) for index, image in enumerate(images(6))]


@pytest.fixture(scope='module')
def ann_file(fused, samples, tmp_path_factory):
    """Six images whose annotations are the float model's own best boxes."""
    annotations = []
    with torch.no_grad():
        for sample in samples:
            found = fused.predict(sample.inputs, [sample.data_sample])[0].pred_instances[:5]
            for box, label in zip(found.bboxes.tolist(), found.labels.tolist()):
                x, y, w, h = box[0], box[1], box[2] - box[0], box[3] - box[1]
                annotations.append(dict(
                    id=len(annotations), image_id=sample.data_sample.img_id, iscrowd=0,
                    category_id=label + 1, bbox=[x, y, w, h], area=w * h))
    path = tmp_path_factory.mktemp('coco') / 'annotations.json'
    path.write_text(json.dumps(dict(
        images=[dict(id=i + 1, width=SIZE, height=SIZE) for i in range(6)],
        annotations=annotations, info={},
        categories=[dict(id=i, name=str(i)) for i in (1, 2, 3)])))
    return str(path)


@pytest.fixture(scope='module')
def scorer(fused, samples, ann_file):
    return Scorer(fused, samples, ann_file)


@pytest.fixture(scope='module')
def variants(float_onnx, calibrated):
    return Variants(float_onnx, calibrated[1], 'onnxruntime', num_threads=1)


def test_file_and_torch_score_the_same(scorer, variants):
    inside, outside = scorer.score(), scorer.score_file(variants.open([]))
    assert inside.ap > 20
    assert outside.ap == pytest.approx(inside.ap, abs=0.05)
    # the model finds its own boxes again, that with the annotation id 0 too
    recall = inside.evaluation.eval['recall'][0, :, 0, -1]
    assert recall[recall > -1].min() == 1


def test_shared_images_are_counted(scorer, samples, fused, ann_file, tmp_path):
    """By file, not by name or number."""
    for index, sample in enumerate(samples):
        sample.data_sample.set_metainfo(dict(img_path=str(tmp_path / f'{index}.jpg')))
    other = Scorer(fused, samples[2:4], ann_file)
    assert scorer.shared_images(other) == other.shared_images(scorer) == 2
    assert scorer.shared_images(None) == 0
    assert scorer.on([0, 1]).shared_images(other) == 0


def test_bootstrap(scorer):
    score = scorer.score()
    assert score.resampled(range(6)) == pytest.approx(score.ap)
    low, high = score.interval(draws=30)
    assert low < score.ap < high or low == pytest.approx(high)
    assert score.interval(score, draws=5) == (0, 0)
    # what another one loses, on the same draws of images
    other = copy.copy(score)
    other._redrawn = {5: [value - drop for value, drop in zip(score._draws(5), range(5))]}
    assert other.interval(score, draws=5) == pytest.approx(np.quantile(range(5), [0.025, 0.975]))


def toy_problem(seed=0, count=7):
    rng = np.random.default_rng(seed)
    names = [f'g{i}' for i in range(count)]
    table = LatencyTable(dict(zip(names, rng.uniform(1, 5, count))),
                         dict(zip(names, rng.uniform(0.5, 2, count))), 3., 0.8, 0.5)
    producers = {'image': {None: 1.}}
    producers.update({f't{i}': {f'g{i}': 1. + i % 3} for i in range(count - 1)})
    readers = {'image': {'g0': 1.}}
    readers.update({f't{i}': {f'g{i + 1}': 1. + i % 3} for i in range(count - 1)})
    readers['t1']['g4'] = 2.
    costs = rng.uniform(0, 0.3, (count, 2))
    costs[:, 0] /= 2
    terms = Terms({name: Estimate(low, low / 2, low + high)
                   for name, (low, high) in zip(names, costs)},
                  {name: Estimate(0.01, 0., 0.02 + 0.01 * place)
                   for place, name in enumerate(readers)})
    return terms, PlanLatency(table, Boundaries(producers, readers))


@pytest.mark.parametrize('seed', range(4))
def test_choice_is_the_best_of_all(seed):
    terms, latency = toy_problem(seed)
    problem = ChoiceProblem(terms, latency)
    plans = [problem.choice(chosen) for size in range(8)
             for chosen in itertools.combinations(terms.groups, size)]
    for budget in (0., 0.2, 0.5, 5.):
        best = min(p.latency for p in plans if p.ap_bound <= budget + 1e-9)
        found = problem.fastest(budget)
        assert found.latency == pytest.approx(best, abs=1e-4) and found.ap_bound <= budget + 1e-8
    limit = np.median([p.latency for p in plans])
    best = min(p.ap_bound for p in plans if p.latency <= limit + 1e-9)
    assert problem.most_accurate(limit).ap_bound == pytest.approx(best, abs=1e-4)
    frontier = problem.frontier()
    assert frontier[0].groups == [] or frontier[0].ap_bound == 0
    for one, two in zip(frontier, frontier[1:]):
        assert two.latency < one.latency and two.ap_bound > one.ap_bound


def test_choice_limits():
    problem = ChoiceProblem(*toy_problem())
    with pytest.raises(UserError, match='cannot be negative'):
        problem.fastest(-1)
    with pytest.raises(UserError, match='the fastest is predicted to take'):
        problem.most_accurate(0.1)


def test_boundaries(variants):
    boundaries = find_boundaries(variants)
    names = variants.candidates
    to_int8, to_float = boundaries.switches(names)[:2]
    image = 3 * SIZE * SIZE / 1e6
    assert to_int8 == pytest.approx(image)
    heads = 2 * 16 * sum((SIZE // s) ** 2 for s in (8, 16, 32)) / 1e6
    assert to_float == pytest.approx(heads)  # what the predictions read
    assert boundaries.switches([])[:2] == (0, 0)
    first = boundaries.switches(['backbone.stem.conv'])[:2]
    stem = 8 * (SIZE // 2) ** 2 / 1e6
    assert first == pytest.approx((image, stem))


def test_profile_finds_every_group(variants):
    for names in ([], variants.candidates):
        times = profile(variants, names, repeats=2)
        missing = [name for name in variants.candidates if not times.get(name)]
        assert not missing
        assert times['rest'] < sum(times.values())
    owners = {'x.conv': 'g'}
    assert kernel_owner(Kernel('x.conv/Conv_nchwc', 1.), owners) == 'g'
    assert kernel_owner(Kernel('x.conv/QuantizeLinear', 1.), owners) == 'rest'
    backprop = Kernel('ConvolutionBackpropData_12', 1., '', [
        'ConvolutionBackpropData_12', 'x.conv/quantised/QuantizeLinear', 'x.conv/ConvTranspose'])
    assert kernel_owner(backprop, owners) == 'g'


def test_plan_round_trip(calibrated, tmp_path):
    flow = calibrated[0].flow
    plan = full_plan(find_groups(flow), 'openvino')
    assert plan.selection(flow) == select(flow, default_layers(flow))
    plan.groups[0] = PlanEntry(plan.groups[0].name, 'float', 'because', 0.1, 0.2)
    plan.numbers['x'] = 1.5
    plan.save(tmp_path / 'plan.json')
    assert Plan.load(tmp_path / 'plan.json') == plan
    assert plan.groups[0].name not in plan.int8_groups()
    assert selection_of(flow, []).layers == frozenset()


def test_a_plan_is_of_one_architecture():
    """Valid for any checkpoint of it; another one is refused."""
    flows = {size: analyse(trace(fuse_model(build_model(load_config(
        f'mmyolonas::yolonas/yolonas_{size}_coco.py'))))) for size in 's'}
    plan = full_plan(find_groups(flows['s']), 'openvino')
    assert plan.selection(flows['s']).layers
    plan.groups.pop(3)
    with pytest.raises(UserError, match='another model'):
        plan.selection(flows['s'])


def test_bad_plans(calibrated, tmp_path):
    flow = calibrated[0].flow
    plan = full_plan(find_groups(flow), 'onnxruntime')
    plan.groups[0].precision = 'int4'
    with pytest.raises(UserError, match="int8 or float, got 'int4'"):
        plan.selection(flow)
    plan = full_plan(find_groups(flow)[1:], 'onnxruntime')
    with pytest.raises(UserError, match='another model: it lacks backbone.stem.conv'):
        plan.selection(flow)
    (tmp_path / 'x.json').write_text('{}')
    with pytest.raises(UserError, match='is not a plan'):
        Plan.load(tmp_path / 'x.json')
    with pytest.raises(UserError, match='it should be a plan'):
        Plan.load(tmp_path / 'nothing.json')
    with pytest.raises(UserError, match='is not an analysis'):
        Costs.load(tmp_path / 'x.json')
    with pytest.raises(UserError, match='latency table'):
        LatencyTable.load(tmp_path / 'nothing.json')


def test_workflow(float_onnx, calibrated, fused, samples, ann_file, tmp_path):
    import onnx
    onnx.save(float_onnx, tmp_path / 'float.onnx')
    # the judge knows of an object that no model finds: its AP is another
    truth = json.loads(Path(ann_file).read_text())
    truth['annotations'] += [dict(id=1000 + i, image_id=i, category_id=1, iscrowd=0, area=1,
                                  bbox=[0, 0, 1, 1]) for i in (4, 5, 6)]
    (tmp_path / 'judge.json').write_text(json.dumps(truth))
    scorer = Scorer(fused, samples[:3], ann_file)
    judge = Scorer(fused, samples[3:], str(tmp_path / 'judge.json'))
    flow = Workflow(str(tmp_path / 'float.onnx'), calibrated[1], 'onnxruntime', str(tmp_path),
                    scorer, num_threads=1, judge=judge)
    flow.full()
    names = flow.variants.candidates
    layers = default_layers(flow.variants.flow)
    costs = Costs({}, {name: Noise([1. + i % 7, 1.]) for i, name in enumerate(layers)},
                  Estimate(1e-3, 0., 2e-3))
    table = LatencyTable(dict.fromkeys(names, 2.0), dict.fromkeys(names, 1.0), 1., .1, .1)
    plan = flow.selective(costs, table, Budget(ap=100.), points=1)
    assert plan.int8_groups() == names and plan.numbers['within_budget']
    # verified on the judge's images, reported on the scorer's
    path = str(tmp_path / 'selective.onnx')
    files = [open_session(path, 'onnxruntime', num_threads=1) for path in (flow.float_onnx, path)]
    judged, scored = ([one.score_file(run).ap for run in files] for one in (judge, scorer))
    assert plan.numbers['verified_ap_loss'] == pytest.approx(judged[0] - judged[1])
    assert [flow.report.rows[0].ap, flow.report.rows[2].ap] == pytest.approx(scored)
    assert judged != pytest.approx(scored)
    plan = flow.selective(costs, table, Budget(ap=0.), points=0)
    lost = plan.numbers['verified_ap_loss']
    assert plan.numbers['within_budget'] and lost <= 0
    reasons = {entry.name: entry.reason for entry in plan.groups}
    assert reasons['backbone.stem.conv'] and reasons['bbox_head.levels.0.cls_pred'] == (
        'makes a prediction')
    costs.save(tmp_path / 'costs.json')
    assert Costs.load(tmp_path / 'costs.json', flow.variants.flow) == costs
    costs.weights.pop(layers[0])
    costs.save(tmp_path / 'costs.json')
    with pytest.raises(UserError, match='analysis of another model: backbone.stem.conv'):
        Costs.load(tmp_path / 'costs.json', flow.variants.flow)
    flow.time_rows(repeats=2)
    flow.report.save(tmp_path / 'report.json')
    report = json.loads((tmp_path / 'report.json').read_text())
    assert [r['name'] for r in report['rows'][:2]] == ['float', 'int8']
    assert len(flow.report.lines()) == len(flow.report.rows) + 1
    plot_report(report, str(tmp_path / 'report.png'))
    plot_costs(plan, costs, str(tmp_path / 'costs.png'))
    assert (tmp_path / 'report.png').stat().st_size > 5000


def test_runtime_that_cannot_be_timed(float_onnx, calibrated, tmp_path):
    import onnx
    onnx.save(float_onnx, tmp_path / 'float.onnx')
    flow = Workflow(str(tmp_path / 'float.onnx'), calibrated[1], 'tensorrt', str(tmp_path))
    with pytest.raises(UserError, match='cannot be timed here; give --latency-table'):
        flow.latency()
    with pytest.raises(UserError, match='needs images with annotations'):
        flow.analyse()


def test_calibration_errors(calibrated, fused):
    from mmyolonas.quantization import calibrate, quantise_model
    quantised = quantise_model(copy.deepcopy(fused))
    with pytest.raises(UserError, match='has quantisers already'):
        quantise_model(quantised.model)
    with pytest.raises(UserError, match='calibration set is empty'):
        calibrate(quantised, [])
    with pytest.raises(UserError, match='asks for 3 images, but there are only 2'):
        calibrate(quantised, images(2), 3)
    with pytest.raises(UserError, match='differ in size'):
        calibrate(quantised, [images(1)[0], torch.rand(1, 3, 96, 96)], method='max')
    with pytest.raises(UserError, match='NaN or infinite'):
        calibrate(quantised, [images(1)[0] * float('nan')], method='max')
    with pytest.raises(UserError, match='must be one of'):
        calibrate(quantised, images(1), method='kl')
    table = calibrate(quantised, [torch.cat(images(4))], 3, 'max')
    assert table.num_images == 3
    want = torch.cat(images(3)).max().item()
    assert table.activations['backbone.stem.conv.rbr_reparam.input'] == pytest.approx(want)


def test_dead_channels(calibrated):
    from mmyolonas.quantization import calibrate, fuse_model, quantise_model
    model = build_tiny()
    stem = model.backbone.stage1.blocks.conv1
    torch.nn.init.zeros_(stem.bn.weight)
    torch.nn.init.constant_(stem.bn.bias, -1)
    quantised = quantise_model(fuse_model(model))
    with pytest.warns(UserWarning, match='zero in every calibration image'):
        table = calibrate(quantised, images(1), method='max')
    assert table.activations['backbone.stage1.blocks.conv1.conv'] == 1
    with torch.no_grad():
        assert all(torch.isfinite(x).all() for x in quantised.model(images(1)[0], None)[1])


@pytest.mark.parametrize('method', ['percentile', 'mse', 'entropy'])
def test_calibrators_stay_below_the_largest_value(calibrated, fused, method):
    from mmyolonas.quantization import calibrate, quantise_model
    quantised = quantise_model(copy.deepcopy(fused))
    for name in list(quantised.activations)[3:]:  # a few suffice
        quantised.activations.pop(name)
    table = calibrate(quantised, images(4), method=method, percentile=99)
    for name, value in table.activations.items():
        assert 0.1 * calibrated[1].activations[name] < value
        assert value <= 1.01 * calibrated[1].activations[name]


@pytest.mark.long
def test_report_tool(tmp_path, capsys):
    row = dict(name='float', path='x', ap=50., ap50=80., interval=None, latency_ms=100., size_mb=1)
    report = dict(runtime='openvino', rows=[row, {**row, 'name': 'int8', 'interval': [-1., 2.],
                                                  'latency_ms': 40., 'ap': 49.}],
                  frontier=[dict(groups=[], latency=100., ap_loss=0.)], settings=dict(threads=2))
    (tmp_path / 'report.json').write_text(json.dumps(report))
    tool = 'tools/analysis_tools/quantization_report.py'
    assert run_tool(tool, tmp_path / 'report.json') == 0
    assert (tmp_path / 'report.png').stat().st_size > 5000
    (tmp_path / 'bad.json').write_text('{}')
    assert run_tool(tool, tmp_path / 'bad.json') == 1
    assert 'not a report of tools/quantize.py' in capsys.readouterr().err


def test_least_squares_range_against_a_search_by_hand():
    """A few outliers are not worth a coarser step for all the rest."""
    from mmyolonas.quantization.ranges.calibration import least_squares_range
    values = np.abs(np.random.default_rng(0).normal(size=200_000))
    values[:3] = 40.
    counts, edges = np.histogram(values, bins=2048, range=(0, 40))
    ours = float(least_squares_range(torch.from_numpy(counts), torch.from_numpy(edges), stride=1))

    def error(limit):
        return np.square(np.clip(np.round(values / limit * 127), 0, 127) * limit / 127
                         - values).sum()

    assert 2 < ours < 40
    assert error(ours) <= 1.01 * min(error(limit) for limit in np.linspace(2.6, 40, 200))
