"""Slices, the supernet, and the accuracy architectures inherit from it."""
import copy
import json
import multiprocessing

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from torch.func import functional_call

from mmyolonas.search.accuracy.inherited import Inherited, recalibrate
from mmyolonas.search.accuracy.recipe import Recipe
from mmyolonas.search.accuracy.slicing import slice_state
from mmyolonas.search.accuracy.supernet import Supernet
from mmyolonas.search.accuracy.supernet_training import (
    finished,
    load_supernet,
    supernet_config,
    train_supernet,
)
from mmyolonas.search.space.architecture import build, model_config
from mmyolonas.search.space.space import Space
from mmyolonas.search.space.space_table import PUBLISHED
from mmyolonas.utils import UserError
from mmyolonas.utils.building import switch_to_deploy
from mmyolonas.utils.shared_records import SharedRecords
from tests import tiny
from tests.forked import end_of_ranks, start_ranks
from tests.killing import kill_when, start
from tests.test_search.test_space import train_step

COUNTS = dict(detection=3, pose=17)


def make_net(space: Space, **options) -> Supernet:
    init_default_scope('mmdet' if space.task == 'detection' else 'mmpose')
    torch.manual_seed(0)
    return Supernet(model_config(space.decode(space.largest()), COUNTS[space.task]), space.task,
                    {gene.name: gene.values for gene in space.genes}, **options)


@pytest.fixture(scope='module', params=['detection', 'pose'])
def whole(request):
    space = Space(request.param, (64, 96))
    return space, make_net(space)


def flat(outputs) -> list:
    return [x for level in outputs for x in level]


def test_slices_equal_the_ordinary_forward(whole):
    """Every published architecture and samples, with an independent order of channels."""
    space, net = whole
    rng = np.random.default_rng(0)
    genomes = [space.published(name) for name in PUBLISHED[space.task]]
    genomes += [space.smallest()] + [space.sample_genome(rng) for _ in range(2)]
    images = torch.rand(2, 3, 64, 64)
    for genome in genomes:
        model = net.build(genome)
        own = build(space.decode(genome), COUNTS[space.task])
        own.load_state_dict(model.state_dict(), strict=True)
        state = net.state_of(genome)
        template = net.template(genome)
        with torch.no_grad():
            theirs = flat(own.train()(images, [], mode='tensor'))
            ours = flat(functional_call(template, state, (images, []), dict(mode='tensor')))
        for one, other in zip(ours, theirs):
            torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_a_part_reads_the_slots_of_the_maps_it_computes():
    """The largest, its unused channels and bottlenecks silenced, computes what the part does.

    Nothing of the slicing is assumed: what is zero in the large network cannot matter.
    """
    space = Space('detection', (64, ), {'*.attention': 'False', 'context': 'spp5-9-13'})
    net = make_net(space)
    large = space.largest()
    part = dict(large, **{'stage2.concat': False, 'stage2.blocks': 4, 'stage3.hidden': 96,
                          'neck1.channels': 96, 'neck2.channels': 64, 'stage4.channels': 256})
    marked = {key: torch.arange(1, value.shape[1] + 1.).view(1, -1, 1, 1).expand_as(value)
              if value.dim() == 4 else value for key, value in net.named_parameters()}
    shapes = {k: v.shape for k, v in net.template(part).state_dict().items()}
    got = slice_state(marked, shapes, space.decode(part), space.decode(large))

    def channels(key: str) -> list:
        return [int(x) - 1 for x in got[key][0, :, 0, 0]]

    # four bottlenecks of width 128: the last one's slot, and the by-pass in slot 5
    assert channels('backbone.stage2.blocks.conv3.conv.weight') == [
        *range(512, 640), *range(640, 768)]
    # all six bottlenecks and the by-pass, 96 of 256 channels each
    assert channels('backbone.stage3.blocks.conv3.conv.weight') == [
        256 * slot + i for slot in range(8) for i in range(96)]
    assert channels('neck.neck1.reduce_after_concat.conv.weight') == [
        192 * slot + i for slot in range(3) for i in range(96)]
    # neck3: half of 192 reduced channels, then the skip of neck2
    assert channels('neck.neck3.blocks.conv1.conv.weight') == [*range(96), *range(96, 160)]
    # neck4: half of 384, then the skip of neck1
    assert channels('neck.neck4.blocks.conv2.conv.weight') == [*range(192), *range(192, 288)]
    assert channels('backbone.context_module.cv2.conv.weight') == [
        384 * slot + i for slot in range(4) for i in range(128)]


def test_what_is_no_part_is_refused(whole):
    space, net = whole
    small = Space(space.task, (64, ), max_arch=PUBLISHED[space.task][0])
    with pytest.raises(ValueError, match='is no part of|the whole has no'):
        make_net(small).state_of(space.largest())


def test_a_step_reaches_every_weight(whole):
    space, net = whole
    net = copy.deepcopy(net)
    net.loss = lambda images, samples: net(images, samples, mode='loss')
    assert np.isfinite(train_step(net, space.task, 96))  # checks every gradient
    assert not any('running' in key for key in net.state_dict())
    with pytest.raises(NotImplementedError, match='is trained, not used'):
        net(torch.zeros(1, 3, 64, 64), mode='predict')


def test_the_largest_alone_has_its_own_loss(whole):
    """Without the others and the teacher, a step is the ordinary model's."""
    space, net = whole
    genome = dict(net.largest(), input_size=64)
    own = build(space.decode(genome), COUNTS[space.task])
    own.load_state_dict(net.build(genome).state_dict())
    seen = {}

    def sample(model, images, samples):
        seen['ordinary'] = sum(v for k, v in model.train().loss(images, samples).items()
                               if 'loss' in k)
        opinion = []
        losses = net._part_losses(genome, images, samples, opinion)
        seen['slices'] = sum(losses.values())
        return losses

    class Both(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = torch.nn.Linear(1, 1)

        def loss(self, images, samples):
            sample(own, images, samples)
            return dict(loss=self.net(torch.ones(1, 1)).sum())

    train_step(Both(), space.task, 64)
    assert torch.equal(seen['ordinary'], seen['slices'])


def test_architectures_depend_on_seed_and_iteration_alone(whole):
    space, net = whole
    assert net.draw(5) == copy.deepcopy(net).draw(5) != net.draw(6)
    sizes = {net.draw(i)[0]['input_size'] for i in range(12)}
    assert sizes == {64, 96}
    assert all(len({g['input_size'] for g in net.draw(i)}) == 1 for i in range(12))


def test_restrictions():
    space = Space('detection', (64, ), {'*.attention': 'False', 'stem': '24,32'}, max_arch='s')
    assert space.largest()['stem'] == 32 and not space.largest()['stage1.attention']
    assert space.largest()['stage4.channels'] == 768 and not space.contains(space.published('m'))
    assert not space.contains(space.published('s'))  # its stem is 48
    pose = Space('pose', (64, ), trunk='n')
    free = {gene.name.partition('.')[0] for gene in pose.genes if len(gene.values) > 1}
    assert free == {'head', 'head8', 'head16', 'head32'} and pose.contains(pose.published('n'))
    with pytest.raises(UserError, match="no choice called 'stm'. Did you mean stem"):
        Space('detection', (64, ), {'stm': '24'})
    with pytest.raises(UserError, match='stem cannot be 25; it may be 24, 32'):
        Space('detection', (64, ), {'stem': '25'})
    with pytest.raises(UserError, match='leave no value for stem'):
        Space('detection', (64, ), {'stem': '64'}, max_arch='s')


def test_head_search_takes_the_trunk_whole_and_what_fits_of_the_head():
    recipe = Recipe('configs/search/yolonas_pose_sample_head.py')
    space = Space('pose', (96, ), trunk='n', max_arch='s')

    def of(cfg):
        hook, = (h for h in cfg.custom_hooks if 'CheckpointMatchHook' in h['type'])
        return hook['strict_shapes'], list(hook['whole'])

    assert of(supernet_config(recipe, space)) == (False, ['backbone', 'neck'])
    assert of(recipe.config(space.decode(space.smallest()))) == (False, [])


# ----------------------------------------------------------------- training
def tiny_recipe(folder) -> Recipe:
    cfg = tiny.config(tiny.write_data(folder / 'data', 4), folder / 'work', epochs=2)
    cfg.update(img_scale=(64, 64))
    cfg['train_cfg'].update(val_interval=1)
    return Recipe(str(tiny.write_config(folder / 'recipe.py', cfg)))


@pytest.fixture(scope='module')
def recipe(tmp_path_factory):
    return tiny_recipe(tmp_path_factory.mktemp('recipe'))


@pytest.fixture(scope='module')
def trained(recipe, tmp_path_factory):
    """The folder of a supernet whose training ran through."""
    folder = tmp_path_factory.mktemp('trained')
    train_supernet(recipe, small_space(), folder)
    return folder


def small_space() -> Space:
    """The narrowest architectures; two widths, a depth and a concatenation to choose."""
    full = Space('detection', (64, ))
    free = ('stem', 'stage2.hidden', 'stage2.blocks', 'stage2.concat')
    return Space('detection', (64, ), {
        gene.name: ','.join(map(str, gene.values[:2 if gene.name in free else 1]))
        for gene in full.genes if gene.name != 'input_size'})


TRAIN = '''
import sys
from mmyolonas.search.accuracy.recipe import Recipe
from mmyolonas.search.accuracy.supernet_training import train_supernet
from tests.test_search.test_supernet import small_space
train_supernet(Recipe(sys.argv[1]), small_space(), sys.argv[2], launcher=sys.argv[3])
'''


def weights(path) -> dict:
    return torch.load(path, map_location='cpu', weights_only=False)['state_dict']


@pytest.mark.long
def test_inherited_score_and_checkpoint(recipe, trained, tmp_path):
    space = small_space()
    source = Inherited(recipe, space, trained, tmp_path / 'scores.jsonl')
    genome = space.sample_genome(np.random.default_rng(0))
    score = source.score(genome)
    source.save(genome, tmp_path / 'part.pth')
    model = build(space.decode(genome), 2)
    model.load_state_dict(torch.load(tmp_path / 'part.pth')['state_dict'], strict=True)
    assert source.score_model(switch_to_deploy(model.eval()), genome) == score
    # recalibrated, the fused form is the same network
    one, other = source.inherit(genome), switch_to_deploy(source.inherit(genome))
    images = source._batches(genome)[0]
    with torch.no_grad():
        for a, b in zip(flat(one(images, mode='tensor')), flat(other(images, mode='tensor'))):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)
    # the INT8 file, and the halves are different images
    assert source.score_int8(genome) >= 0 and source.score_int8(genome, 'report') >= 0
    # what is in the file is not computed again
    other = Inherited(recipe, space, trained, tmp_path / 'scores.jsonl')
    other.inherit = None
    assert other.score(genome) == score
    assert other.score_int8(genome) == source.score_int8(genome)
    assert len(list(other.records)) == 3


@pytest.mark.long
def test_a_killed_training_goes_on(recipe, trained, tmp_path):
    space = small_space()
    killed = tmp_path / 'killed'
    process = start(['-c', TRAIN, recipe.path, killed, 'none'])
    kill_when(process, lambda: (killed / 'epoch_1.pth').is_file())
    assert finished(killed) is None
    with pytest.raises(UserError, match='no trained supernet'):
        load_supernet(killed)
    first, second = weights(finished(trained)), weights(train_supernet(recipe, space, killed))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not any('running' in key for key in first)


@pytest.mark.long
def test_two_processes_train_one_supernet(recipe, tmp_path):
    """Through DDP: it would stop at a weight without a gradient, or at other architectures."""
    end_of_ranks(start_ranks(['-c', TRAIN, recipe.path, tmp_path / 'two', 'pytorch']))
    two = weights(finished(tmp_path / 'two'))
    one = make_net(small_space()).state_dict()
    assert all(torch.isfinite(value).all() for value in two.values())
    assert [key for key in two if not key.startswith('data_preprocessor')] == [
        key for key in one if not key.startswith('data_preprocessor')]
    assert len((tmp_path / 'two' / 'seconds.txt').read_text().split()) == 1


def test_config_is_an_ordinary_one(recipe):
    cfg = supernet_config(recipe, small_space(), seed=3, length=2.)
    assert cfg.model.type == 'mmyolonas.Supernet' and cfg.train_cfg.max_epochs == 4
    assert cfg.val_dataloader is None and cfg.optim_wrapper.clip_grad.max_norm == 10
    assert 'mmyolonas.search.accuracy.supernet' in cfg.custom_imports['imports']


def test_recalibration_sets_the_statistics_of_the_images():
    model = build(Space('detection', (64, )).decode(
        Space('detection', (64, )).smallest()), 2)
    images = torch.rand(4, 3, 64, 64)
    recalibrate(model, [images])
    with torch.no_grad():
        value = model.backbone.stem.conv.branch_3x3.conv(images)
    norm = model.backbone.stem.conv.branch_3x3.bn
    torch.testing.assert_close(norm.running_mean, value.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    assert not norm.training


# ------------------------------------------------------------------- records
def write_records(path: str, number: int) -> None:
    records = SharedRecords(path)
    for index in range(50):
        records.put(f'{number}-{index}', value=index)
        records.put(f'both-{index}', value=number)


def test_two_processes_share_records(tmp_path):
    path = tmp_path / 'records.jsonl'
    context = multiprocessing.get_context('fork')
    processes = [context.Process(target=write_records, args=(str(path), n)) for n in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 150 == len({line['key'] for line in lines})
    with open(path, 'ab') as file:
        file.write(b'{"key": "half')  # a process was killed
    records = SharedRecords(path)
    assert records.get('half') is None and records.get('0-7')['value'] == 7
    records.put('whole', value=1)
    assert SharedRecords(path).get('whole')['value'] == 1 and len(list(records)) == 151
