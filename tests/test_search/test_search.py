"""Studies, frontier, surrogate and rungs, with architectures that are not built."""
import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from mmyolonas.search.accuracy.evaluation import Point, objectives
from mmyolonas.search.accuracy.rungs import judge, kendall
from mmyolonas.search.accuracy.surrogate import Surrogate, cross_validate
from mmyolonas.search.space.space import Space
from mmyolonas.search.study.frontier import choose, frontier, points_csv, read_points, write_config
from mmyolonas.search.study.pareto import hypervolume, hypervolume_history, nondominated
from mmyolonas.search.study.storage import open_storage
from mmyolonas.search.study.study import Search, SearchSettings
from mmyolonas.utils import UserError
from mmyolonas.utils.configs import load_config
from tests.conftest import ROOT
from tests.killing import kill_when, start

SPACE = Space('detection', (96, 128))


def fake_point(genome: dict) -> Point:
    """A point whose frontier is known: half of the choices help, all cost."""
    vector = SPACE.vector(genome)
    return Point(genome, float(vector[::2].sum()), 1 + float(vector.sum()), 1., 1, 2)


# ------------------------------------------------------------------ hypervolume
def test_hypervolume_by_hand():
    assert hypervolume([[1, 3], [2, 1], [3, 2]], (4, 4)) == 3 * 1 + 2 * 2
    assert hypervolume([[5, 0]], (4, 4)) == 0 == hypervolume([], (4, 4))
    assert hypervolume([[1, 1, 1], [0, 2, 2]], (3, 3, 3)) == 8 + 1
    assert hypervolume_history([[1, 3], [2, 1]], (4, 4), [1, 2]) == [3, 7]


def test_hypervolume_against_counting():
    rng = np.random.default_rng(0)
    for count in (1, 4, 9):
        points = rng.integers(0, 8, (count, 3))
        cells = np.array(list(itertools.product(range(8), repeat=3)))
        covered = (points[:, None] <= cells[None]).all(2).any(0).sum()
        assert hypervolume(points, (8, 8, 8)) == covered


def test_nondominated():
    assert nondominated([[1, 2], [2, 1], [2, 2], [1, 2], [0, 3]]) == [4, 0, 1]
    assert nondominated([]) == []


# -------------------------------------------------------------------- surrogate
def test_surrogate_learns_what_it_can():
    rng = np.random.default_rng(0)
    wholes, choices = rng.normal(size=(40, 2)), rng.random((40, 60))
    accuracy = 3 * wholes[:, 0] + 2 * choices[:, 5] + 0.1 * rng.normal(size=40)
    predicted = cross_validate(wholes, choices, accuracy)
    assert kendall(predicted, accuracy) > 0.75
    noise = rng.normal(size=40)
    assert abs(kendall(cross_validate(wholes, choices, noise), noise)) < 0.35
    model = Surrogate(wholes, choices, accuracy)
    near, far = model.predict(np.stack([wholes[0], wholes[0] + 20]), choices[:2])[1]
    assert far > 2 * near
    constant = Surrogate(wholes, choices[:, :0], np.ones(40))
    assert constant.predict(wholes, choices[:, :0])[0] == pytest.approx(1)


def test_surrogate_by_the_formulas():
    """Rasmussen and Williams 2006, equations 2.25 and 2.26, at the strengths that were found."""
    rng = np.random.default_rng(1)
    wholes, choices = rng.normal(2, 3, (25, 2)), rng.random((25, 6))
    accuracy = wholes[:, 0] + np.sin(wholes[:, 1]) + 3 * choices[:, 2] + 0.2 * rng.normal(size=25)
    model = Surrogate(wholes[:20], choices[:20], accuracy[:20])
    linear, smooth, length, choice, noise = np.exp(model._process.kernel_.theta)
    a = (wholes - wholes[:20].mean(0)) / wholes[:20].std(0)
    b = choices - choices[:20].mean(0)
    squares = ((a[:, None] - a[None])**2).sum(2)
    kernel = linear * a @ a.T / 2 + smooth * np.exp(-squares / 2 / (2 * length**2)) + (
        choice * 4 * b @ b.T / 6)
    known, cross = kernel[:20, :20] + noise * np.eye(20), kernel[20:, :20]
    mean, spread = accuracy[:20].mean(), accuracy[:20].std()
    expected = mean + spread * cross @ np.linalg.solve(known, (accuracy[:20] - mean) / spread)
    variance = np.diag(kernel[20:, 20:] - cross @ np.linalg.solve(known, cross.T))
    predicted, deviation = model.predict(wholes[20:], choices[20:])
    assert predicted == pytest.approx(expected, rel=1e-5)
    assert deviation == pytest.approx(spread * np.sqrt(variance), rel=1e-3)


@pytest.mark.long
def test_rungs_that_do_not_beat_size_are_not_used():
    rng = np.random.default_rng(0)
    genomes = [SPACE.sample_genome(rng) for _ in range(10)]
    from mmyolonas.search.accuracy.evaluation import structure
    entropy = [structure(SPACE, g, 3).numbers['entropy'] for g in genomes]
    scores = {}
    from mmyolonas.search.space.space import genome_key
    for genome in genomes:
        scores[genome_key(genome)] = dict(zico=(float(rng.normal()), 1.5))
    ladder = judge(SPACE, genomes, entropy, 3, scores)
    rungs = {rung.name: rung for rung in ladder.rungs}
    assert rungs['entropy'].tau == pytest.approx(1) and rungs['entropy'].used
    assert not rungs['zico'].used and rungs['zico'].seconds == pytest.approx(1.5)
    assert rungs['params'].kind == 'base line' and 'entropy' in ladder.predictor.names
    # accuracy that nothing explains: the model of the sizes alone is left
    flops = [structure(SPACE, g, 3).numbers['flops'] for g in genomes]
    ladder = judge(SPACE, genomes, flops, 3, scores)
    assert ladder.predictor.names == ['params', 'flops'] and not ladder.predictor.with_choices
    with pytest.raises(UserError, match='at least 10'):
        judge(SPACE, genomes[:9], entropy[:9], 3)


# ---------------------------------------------------------------------- studies
def make_search(storage, sampler='nsga2', seed=0, budget=120, evaluate=fake_point, space=SPACE,
                **kwargs) -> Search:
    settings = SearchSettings(budget, sampler, seed, population=16, **kwargs)
    if isinstance(storage, Path):
        storage = open_storage(storage / 'studies.log')
    return Search(space, evaluate, storage, settings, dict(target='onnxruntime-int8'))


@pytest.mark.long
def test_search_beats_random():
    storage = pytest.importorskip('optuna').storages.InMemoryStorage()
    worst = [0., 1 + SPACE.vector(SPACE.published('l')).size]
    volumes = {}
    for sampler in ('nsga2', 'random'):
        volumes[sampler] = [hypervolume(objectives(
            make_search(storage, sampler, seed).run(), ('accuracy', 'latency')), worst)
            for seed in range(3)]
    assert min(volumes['nsga2']) > max(volumes['random'])


@pytest.mark.long
def test_search_goes_on_and_keeps_its_order(tmp_path):
    first = make_search(tmp_path, budget=30).run()
    assert len(first) == 30
    longer = make_search(tmp_path, budget=50).run()
    assert longer[:30] == first and len({p.key for p in longer}) == 50
    # the same budget again: nothing to do
    assert make_search(tmp_path, budget=50, evaluate=None).run() == longer


def test_two_processes_share_one_study(tmp_path):
    one, two = (make_search(tmp_path, budget=20) for _ in range(2))
    for _ in range(10):
        one._step()
        two._step()
    assert len(one.run()) == 20 == len(two.run())


@pytest.mark.long
def test_search_in_a_data_base(tmp_path):
    storage = open_storage(f'sqlite:///{tmp_path}/study.db')
    search = Search(SPACE, fake_point, storage, SearchSettings(5))
    assert len(search.run()) == 5


def test_a_study_of_another_space_is_refused(tmp_path):
    make_search(tmp_path, budget=2).run()
    with pytest.raises(UserError, match='of another space'):
        make_search(tmp_path, space=Space('detection', (64, 96)))
    with pytest.raises(UserError, match='max_ms None .now 3.0.'):
        make_search(tmp_path, max_ms=3.)


def test_slow_architectures_lose(tmp_path):
    search = make_search(tmp_path, budget=64, max_ms=20.)
    points = search.run()
    late = [p.latency <= 20 for p in points[32:]]
    early = [p.latency <= 20 for p in points[:16]]
    assert np.mean(late) > np.mean(early)


def test_out_of_memory_fails_one_trial(tmp_path, capsys):
    calls = itertools.count()

    def evaluate(genome):
        if next(calls) % 3 == 1:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to ...")
        return fake_point(genome)

    search = make_search(tmp_path, budget=6, evaluate=evaluate)
    assert len(search.run()) == 6
    states = [t.state.name for t in search.study.trials]
    assert states.count('COMPLETE') == 6 and 'FAIL' in states
    assert 'failed: out of memory' in capsys.readouterr().out

    def broken(genome):
        raise MemoryError

    with pytest.raises(UserError, match='20 architectures in a row failed: out of memory'):
        make_search(tmp_path, seed=1, evaluate=broken).run()

    def wrong(genome):
        raise RuntimeError('shapes do not fit')

    with pytest.raises(RuntimeError, match='shapes'):
        make_search(tmp_path, seed=2, evaluate=wrong).run()


@pytest.mark.long
def test_killed_search_goes_on(tmp_path):
    """kill -9 in the middle, and a last line that is half written."""
    script = (f'import sys; sys.path.insert(0, {str(ROOT)!r})\n'
              'from pathlib import Path\n'
              'from tests.test_search.test_search import make_search\n'
              f'make_search(Path({str(tmp_path)!r}), budget=100000).run()\n')
    path = tmp_path / 'studies.log'
    kill_when(start(['-c', script]),
              lambda: path.is_file() and path.stat().st_size >= 100_000)
    lock = tmp_path / 'studies.log.lock'
    if lock.is_symlink():
        lock.unlink()  # optuna waits half a minute for it otherwise
    with open(path, 'ab') as file:
        file.write(b'{"op_code":5,"trial_id":')
    before = make_search(tmp_path, budget=100_000).points()
    assert len(before) > 3
    after = make_search(tmp_path, budget=len(before) + 20).run()
    assert after[:len(before)] == before and len(after) == len(before) + 20


# --------------------------------------------------------------------- frontier
def test_choices_and_tables(tmp_path):
    rng = np.random.default_rng(0)
    points = [fake_point(SPACE.sample_genome(rng)) for _ in range(50)]
    best = frontier(points)
    assert [p.latency for p in best] == sorted(p.latency for p in best)
    assert [p.accuracy for p in best] == sorted(p.accuracy for p in best)
    limit = best[len(best) // 2].latency
    choice, = choose(points, dict(m=limit))
    assert choice.point == max((p for p in points if p.latency <= limit),
                               key=lambda p: p.accuracy)
    with pytest.raises(UserError, match='the fastest takes'):
        choose(points, dict(s=0.5))
    path = tmp_path / 'points.csv'
    path.write_text(points_csv(points, SPACE, dict(seed=[0] * 50)))
    again = read_points(path, SPACE)
    assert [p.genome for p in again] == [p.genome for p in points]
    assert path.read_text().count('\n') == 51
    with pytest.raises(UserError, match='no table of points of this space'):
        read_points(path, Space('pose', (96, 128)))


@pytest.mark.parametrize('base', ['configs/yolonas/yolonas_l_coco.py',
                                  'configs/yolonas/yolonas_s_sample.py'])
def test_configs_are_ordinary(base, tmp_path):
    space = Space('detection', (320, 640))
    rng = np.random.default_rng(4)
    genome = dict(space.sample_genome(rng), input_size=320)
    path = write_config(tmp_path / 'found.py', fake_point_of(genome), space, str(ROOT / base),
                        'Found', 'openvino', 'fp32')
    cfg = load_config(str(path))
    assert cfg.model.backbone.arch.stem_channels == genome['stem']
    assert cfg.model.bbox_head.num_classes == load_config(str(ROOT / base)).model.bbox_head \
        .num_classes
    text = json.dumps(cfg.train_dataloader.to_dict() if hasattr(cfg.train_dataloader, 'to_dict')
                      else dict(cfg.train_dataloader), default=str)
    assert '[320, 320]' in text and '[640, 640]' not in text and '[192, 192]' not in text
    same = write_config(tmp_path / 'same.py', fake_point_of(dict(genome, input_size=640)), space,
                        str(ROOT / 'configs/yolonas/yolonas_s_coco.py'), 'Found')
    assert 'dataloader' not in same.read_text()


def fake_point_of(genome: dict) -> Point:
    return Point(genome, 1., 2., 3., 4, 5)
