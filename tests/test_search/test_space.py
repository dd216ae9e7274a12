"""The space: counted, its operators closed, the published models in it, samples that work."""
import math

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from mmyolonas.search.accuracy.evaluation import structure
from mmyolonas.search.space.architecture import build, model_changes
from mmyolonas.search.space.encoding import decode, describe, encode
from mmyolonas.search.space.space import Space, genome_key
from mmyolonas.search.space.space_table import PUBLISHED
from mmyolonas.utils import UserError
from tests.conftest import ROOT

MODELS_IN_SPACE = [(task, name) for task, names in PUBLISHED.items() for name in names]


def as_published(task: str, name: str):
    """The published model of a task from its own config."""
    folder = 'yolonas' if task == 'detection' else 'yolonas_pose'
    cfg = Config.fromfile(str(ROOT / f'configs/{folder}/{folder}_{name}_coco.py'))
    init_default_scope(cfg.default_scope)
    with torch.device('meta'):
        return MODELS.build(cfg.model)


@pytest.mark.parametrize('task', ['detection', 'pose'])
def test_count(task):
    """The number is that of the table, and large enough without the input sizes."""
    space = Space(task, (320, 640))
    assert space.size == math.prod(len(set(gene.values)) for gene in space.genes)
    assert isinstance(space.size, int) and space.size >= 10**14
    assert Space(task, (640, )).size * 2 == space.size
    assert len({gene.name for gene in space.genes}) == len(space.genes)


@pytest.mark.parametrize('task, name', MODELS_IN_SPACE)
def test_published_models_are_points(task, name):
    space = Space(task)
    genome = space.published(name)
    architecture = space.decode(genome)
    assert space.encode(architecture) == genome
    ours = build(architecture, device='meta').state_dict()
    theirs = as_published(task, name).state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}
    assert list(ours) == list(theirs)


@pytest.mark.parametrize('task', ['detection', 'pose'])
def test_operators_stay_in_the_space(task):
    space = Space(task)
    rng = np.random.default_rng(0)
    parents = [space.sample_genome(rng) for _ in range(200)]
    assert len({genome_key(p) for p in parents}) == 200
    for first, second in zip(parents, parents[1:]):
        assert encode(decode(first, task)) == first
        child = space.mutate(first, rng)
        assert space.check(child) == child != first
        mixed = space.crossover(first, second, rng)
        assert all(mixed[k] in (first[k], second[k]) for k in space.check(mixed))
        assert space.vector(child).min() >= 0 and space.vector(child).max() <= 1
        assert describe(child).endswith(' px')


def test_mutation_prefers_neighbours():
    space, rng = Space(), np.random.default_rng(0)
    genome = space.published('s')
    steps = []
    for _ in range(300):
        child = space.mutate(genome, rng, rate=0., jump=0.3)
        changed = [gene for gene in space.genes if child[gene.name] != genome[gene.name]]
        assert len(changed) == 1  # at least one, and with rate 0 no more
        if changed[0].ordered:
            places = [changed[0].values.index(g[changed[0].name]) for g in (child, genome)]
            steps.append(abs(places[0] - places[1]))
    assert 0.7 < np.mean(np.array(steps) == 1) < 1


def test_vectors_tell_architectures_apart():
    space, rng = Space(), np.random.default_rng(0)
    genome = space.sample_genome(rng)
    for gene in space.genes:
        vectors = {tuple(space.vector(dict(genome, **{gene.name: value})))
                   for value in gene.values}
        assert len(vectors) == len(gene.values)


@pytest.mark.parametrize('task', ['detection', 'pose'])
@pytest.mark.parametrize('seed, count', [(0, 20), pytest.param(1, 100, marks=pytest.mark.slow)])
def test_samples_build_and_keep_their_shapes(task, seed, count):
    """On the meta device: shapes pass through every layer as they would in training."""
    space = Space(task, (96, 128))
    rng = np.random.default_rng(seed)
    for _ in range(count):
        genome = space.sample_genome(rng)
        size = genome['input_size']
        found = structure(space, genome, 3 if task == 'detection' else 17, False).operators
        decoded = found[-1]
        assert decoded.kind == 'decode'
        assert decoded.width == sum((size // stride)**2 for stride in (8, 16, 32))
        assert decoded.out_channels == (4 + 3 if task == 'detection' else 4 + 1 + 3 * 17)
        predictions = [op for op in found if op.prediction]
        assert [op.height for op in predictions] == [
            size // stride for stride in (8, 16, 32) for _ in range(len(predictions) // 3)]


def train_step(model, task: str, size: int) -> float:
    """One step on one object; returns the loss."""
    from mmengine.structures import InstanceData
    model.train()
    images = torch.rand(2, 3, size, size)
    if task == 'detection':
        from mmdet.structures import DetDataSample
        sample = DetDataSample(metainfo=dict(img_shape=(size, size)))
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor([[8., 8., 50., 40.]]), labels=torch.tensor([1]))
    else:
        from mmpose.structures import PoseDataSample
        sample = PoseDataSample(metainfo=dict(img_shape=(size, size)))
        sample.gt_instance_labels = InstanceData(
            bboxes=torch.tensor([[8., 8., 50., 40.]]), keypoints=torch.rand(1, 17, 2) * size,
            keypoints_visible=torch.ones(1, 17), labels=torch.zeros(1, dtype=torch.long))
    losses = model.loss(images, [sample, sample])
    loss = sum(value for name, value in losses.items() if 'loss' in name)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    loss.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
    optimizer.step()
    return float(loss)


def trains_and_exports(task: str, genome: dict, folder) -> None:
    from mmyolonas.export import export_onnx
    space = Space(task, (64, ))
    model = build(space.decode(genome), 3 if task == 'detection' else None)
    assert np.isfinite(train_step(model, task, 64))
    # compares ONNX Runtime with PyTorch
    report = export_onnx(model.eval(), str(folder / 'model.onnx'), (1, 3, 64, 64), nms='none')
    assert max(report.errors.values()) < 1e-2


def extremes(task: str):
    """The first and the last value of every choice, and a mixed sample."""
    space = Space(task, (64, ))
    rng = np.random.default_rng(3)
    return [{g.name: g.values[0] for g in space.genes}, space.sample_genome(rng),
            space.sample_genome(rng)]


@pytest.mark.parametrize('task, index', [('detection', 0), ('detection', 1), ('pose', 0),
                                         ('pose', 2)])
def test_samples_train_a_step_and_export(task, index, tmp_path):
    trains_and_exports(task, extremes(task)[index], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize('task', ['detection', 'pose'])
def test_200_samples_train_a_step_and_export(task, tmp_path):
    space, rng = Space(task, (64, )), np.random.default_rng(2)
    for _ in range(100):
        trains_and_exports(task, space.sample_genome(rng), tmp_path)


def test_what_is_not_in_the_space_is_refused():
    space = Space()
    genome = space.published('s')
    with pytest.raises(UserError, match='stem is 50, it may be 24, 32'):
        space.check(dict(genome, stem=50))
    with pytest.raises(UserError, match='differs in'):
        space.check({k: v for k, v in genome.items() if k != 'stem'})
    with pytest.raises(UserError, match='unknown task'):
        Space('segmentation')
    with pytest.raises(UserError, match='multiples of 32'):
        Space('detection', (100, ))
    with pytest.raises(UserError, match="called 'n'"):
        space.published('n')
    architecture = space.decode(genome)
    architecture['backbone']['context_kernels'] = (3, )
    with pytest.raises(UserError, match='kernels'):
        space.encode(architecture)


def test_fingerprint_tells_spaces_apart():
    same = Space('detection', (640, 320)).fingerprint
    assert same == Space('detection', (320, 640)).fingerprint
    assert same != Space('detection', (320, )).fingerprint != Space('pose', (320, )).fingerprint


def test_architecture_merges_into_any_config():
    space = Space()
    cfg = Config.fromfile(str(ROOT / 'configs/yolonas/yolonas_l_coco.py'))
    cfg.merge_from_dict(dict(model=model_changes(space.decode(space.published('s')))))
    with torch.device('meta'):
        init_default_scope('mmdet')
        ours = MODELS.build(cfg.model).state_dict()
    theirs = as_published('detection', 's').state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}
