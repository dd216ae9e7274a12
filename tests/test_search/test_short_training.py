"""Recipes and short trainings."""
import json

import pytest

from mmyolonas.search.accuracy import short_training
from mmyolonas.search.accuracy.recipe import Recipe, set_input_size
from mmyolonas.search.accuracy.rungs import ScoreKeeper
from mmyolonas.search.accuracy.short_training import ShortTrainings, Task, TrainingLog
from mmyolonas.search.project import Project
from mmyolonas.search.space.space import Space, genome_key
from mmyolonas.utils import UserError
from mmyolonas.utils.configs import load_config
from tests import tiny
from tests.conftest import ROOT

SPACE = Space('detection', (64, 96))
SMALLEST = {gene.name: gene.values[0] for gene in SPACE.genes}


@pytest.fixture
def recipe(tmp_path):
    """Two steps on drawn images."""
    cfg = tiny.config(tiny.write_data(tmp_path / 'data', 4), tmp_path / 'work', epochs=1)
    cfg.update(img_scale=(64, 64))
    cfg['train_cfg'].update(val_interval=1)
    return Recipe(str(tiny.write_config(tmp_path / 'recipe.py', cfg)))


def test_input_size_of_the_pipelines():
    cfg = load_config(str(ROOT / 'configs/yolonas/yolonas_s_coco.py'))
    set_input_size(cfg, 320)
    text = str(cfg.val_dataloader.dataset.pipeline)
    assert '(316, 316)' in text and '(320, 320)' in text and '640' not in text
    assert '640' not in str(cfg.train_dataloader.dataset.pipeline)
    cfg = load_config(str(ROOT / 'configs/yolonas/yolonas_s_bccd.py'))  # not square
    set_input_size(cfg, 640)
    assert cfg.img_scale == (640, 512)
    text = str(cfg.train_dataloader.dataset.pipeline)
    assert '(640, 480)' in text and '(640, 512)' in text


def test_pose_recipes():
    recipe = Recipe(str(ROOT / 'configs/yolonas_pose/yolonas_pose_n_sample.py'))
    space = Space('pose', (128, ))
    cfg = recipe.config(space.decode(space.published('m')))
    assert cfg.input_size == (128, 128) and '192' not in str(cfg.train_dataloader.dataset)
    assert cfg.model.head.pose_channels == [96, 384, 384] and recipe.num_classes == 17


def test_recipe_is_checked(tmp_path):
    path = tmp_path / 'nothing.py'
    path.write_text('a = 1\n')
    with pytest.raises(UserError, match='no model with bbox_head'):
        Recipe(str(path))
    with pytest.raises(UserError, match='recipe for pose'):
        Recipe(str(ROOT / 'configs/yolonas_pose/yolonas_pose_n_coco.py')).config(
            SPACE.decode(SMALLEST))


def test_a_recipe_changes_with_its_settings():
    path = str(ROOT / 'configs/search/yolonas_sample_short.py')
    one, two, other = Recipe(path), Recipe(path), Recipe(path, {'optim_wrapper.optimizer.lr': 1.})
    assert one.fingerprint == two.fingerprint != other.fingerprint
    cfg = one.config(SPACE.decode(SMALLEST), seed=7)
    assert cfg.randomness.seed == 7 and cfg.img_scale == (64, 64)
    assert cfg.model.backbone.arch.stem_channels == SMALLEST['stem']
    assert cfg.model.bbox_head.num_classes == 5


@pytest.mark.long
def test_trains_scores_and_goes_on(recipe, tmp_path):
    trainings = ShortTrainings(SPACE, recipe, tmp_path / 'search')
    larger = dict(SMALLEST, input_size=96)
    tasks = [Task(SMALLEST), Task(larger)]
    first, = trainings.run(tasks, limit=1)
    assert first.ok and set(first.halves) == {'select', 'report'}
    assert 0 <= first.ap <= 1 and first.seconds > 0
    both = trainings.run(tasks)
    assert both[0] == first and both[1].genome == larger
    assert not list((tmp_path / 'search' / 'running').iterdir())
    # nothing is left to do; another seed is another training
    assert trainings.run(tasks) == both
    log = TrainingLog.read(tmp_path / 'search')
    assert len(log.of_recipe(recipe.fingerprint)) == 2 and not log.begun
    assert log.of_recipe('another') == []
    keeper = ScoreKeeper(SPACE, recipe, tmp_path / 'scores.jsonl')
    found = keeper.compute([SMALLEST, larger], ['naswot', 'zico', 'synflow'])
    assert set(found) == {genome_key(SMALLEST), genome_key(larger)}
    assert found == keeper.compute([SMALLEST, larger], ['naswot', 'zico', 'synflow'])


@pytest.fixture
def fake(monkeypatch):
    """Trainings that end at once, with the architectures they were of."""
    seen = []

    def train(recipe, architecture, seed, work_dir):
        seen.append(architecture)
        if architecture['input_size'] == 96:
            raise RuntimeError('CUDA out of memory. Tried to allocate 2.00 GiB')
        return dict(ap=0.25, ap50=0.5, halves=dict(select=0.2, report=0.3))

    monkeypatch.setattr(short_training, 'train_architecture', train)
    return seen


def test_out_of_memory_fails_one_training(recipe, tmp_path, fake):
    trainings = ShortTrainings(SPACE, recipe, tmp_path)
    results = trainings.run([Task(dict(SMALLEST, input_size=96)), Task(SMALLEST)])
    assert [t.ok for t in results] == [False, True]
    assert results[0].message == 'out of memory'
    assert len(TrainingLog.read(tmp_path).of_recipe(recipe.fingerprint)) == 1
    trainings.run([Task(dict(SMALLEST, input_size=96))])
    assert len(fake) == 2  # it is not tried again
    twice = trainings.run([Task(SMALLEST, seed=1), Task(SMALLEST, seed=1, origin='frontier')])
    assert twice[0] == twice[1] and twice[0].origin == 'random' and len(fake) == 3


def test_a_training_that_kills_its_process_is_given_up(recipe, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    reason = KeyboardInterrupt

    def train(*_):
        raise reason

    monkeypatch.setattr(short_training, 'train_architecture', train)
    trainings = ShortTrainings(SPACE, recipe, tmp_path)
    for count in range(8):
        reason = KeyboardInterrupt if count < 5 else Killed  # the first is the user's wish
        with pytest.raises(reason):
            trainings.run([Task(SMALLEST)])
    with open(trainings.path, 'ab') as file:
        file.write(b'{"key": "half a li')  # a kill may come at any byte
    result, = trainings.run([Task(SMALLEST)])
    assert not result.ok and 'ended 3 times' in result.message


def test_an_error_of_the_recipe_is_not_the_architectures(recipe, tmp_path, monkeypatch):
    def train(*_):
        raise RuntimeError('shapes do not fit')

    monkeypatch.setattr(short_training, 'train_architecture', train)
    with pytest.raises(RuntimeError, match='shapes'):
        ShortTrainings(SPACE, recipe, tmp_path).run([Task(SMALLEST)])


def test_project_keeps_what_it_is_about(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr('mmyolonas.search.project._BLOCK', 8)
    folder = tmp_path / 'search'
    with pytest.raises(UserError, match='begin one with --recipe'):
        Project.open(folder)
    project = Project.open(folder, recipe=recipe.path, input_sizes=[64, 96], seed=3, max_arch='s')
    again = Project.open(folder)
    assert again.settings == project.settings and again.space.input_sizes == (64, 96)
    with pytest.raises(UserError, match=r'input_sizes \[64, 96\] \(given: \[64\]\)'):
        Project.open(folder, input_sizes=[64])
    genomes = project.sample(4)
    assert genomes == again.sample(4) and len({genome_key(g) for g in genomes}) == 4
    assert json.loads((folder / 'search.json').read_text())['seed'] == 3
