"""What noise of trainings does to a ranking, against drawn values."""
import numpy as np
import pytest

from benchmarks.ranks import ceiling, grouped_tau, without_noise


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
