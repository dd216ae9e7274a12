"""What noise of trainings does to a ranking, against drawn values."""
import numpy as np
import pytest

from benchmarks import supernet_plots
from benchmarks.ranks import ceiling, grouped_tau, without_noise
from benchmarks.supernet import noise_text


@pytest.fixture(scope='module')
def drawn() -> dict:
    """Return truth, two noisy trainings of it and a predictor, normal, of 2,000 items."""
    truth, *noise = np.random.default_rng(0).normal(size=(4, 2000))
    return dict(truth=truth, alone=np.array([truth + 0.7 * noise[0], truth + 0.7 * noise[1]]),
                predictor=truth + noise[2])


def test_ceiling_is_what_the_truth_has(drawn):
    between = grouped_tau(*drawn['alone'])
    for seeds in (1, 2):
        seen = grouped_tau(drawn['truth'], drawn['alone'][:seeds].mean(0))
        assert ceiling(between, seeds) == pytest.approx(seen, abs=0.02)


def test_without_noise_is_the_tau_with_the_truth(drawn):
    between = grouped_tau(*drawn['alone'])
    seen = grouped_tau(drawn['predictor'], drawn['alone'].mean(0))
    expected = grouped_tau(drawn['predictor'], drawn['truth'])
    assert expected > seen + 0.02
    assert without_noise(seen, between, 2) == pytest.approx(expected, abs=0.02)


def test_charts_have_every_network_and_the_range_over_seeds(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(supernet_plots, 'write_figure',
                        lambda path, figure, dpi: figures.append(figure))
    supernet_plots.plot_frontier({'supernet': ['a', 'b'], 'published S': ['s']},
                                 dict(a=[1., 3.], b=[4., 4.], s=[2., 2.]),
                                 dict(a=2., b=1., s=3.), 'INT8', tmp_path / 'f.png')
    own, alone = np.array([[1., 2., 3.], [3., 2., 3.]]), np.array([[5., 6., 7.]])
    supernet_plots.plot_ranks(own, alone, np.array([0, 1, 2]), tmp_path / 'r.png')
    frontier, ranks = (figure.axes[0].containers for figure in figures)
    line, _, (bars, ) = frontier[0].lines
    assert line.get_xydata().tolist() == [[1., 4.], [2., 2.]]
    assert bars.get_segments()[1].tolist() == [[2., 1.], [2., 3.]]
    assert [c.lines[0].get_xydata().tolist() for c in ranks] == [[[2., 5.]], [[2., 6.]], [[3., 7.]]]


def test_noise_is_said_where_trainings_do_not_repeat(drawn):
    same = noise_text(0.4, drawn['alone'][:, :60])
    assert 'without error would have +0.60 with' in same, same
    noise = np.random.default_rng(1).normal(size=(2, 60))
    assert 'no ranking can be judged' in noise_text(0.4, noise)
