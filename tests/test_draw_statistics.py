"""Are the keyed draws random? Moments, tails, evenness, and nothing in common with one another.

Keys are fixed, so that no test fails by chance; bounds are at five standard deviations or at a
probability of 1e-6.
"""

import math
from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from spairc import spec
from spairc.draws import KeyedDraws, keyed_draws, tables

SCALES = (60, 25, 12, 5, 3)  # shot noise, severity 1 to 5
MANY = 1_500_000


def within(count: float, expected: float) -> bool:
    """Whether a binomial count of small probability is within five deviations."""
    return abs(count - expected) < 5 * math.sqrt(expected)


@pytest.fixture(scope="module")
def normals() -> NDArray[np.float64]:
    return keyed_draws("car/a", "gaussian_noise", 1).normal((MANY,))


def test_normal_draws_have_the_moments_of_a_normal_number(normals: NDArray[np.float64]) -> None:
    # The k-th power has the variance m(2k) - m(k)**2.
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        error = np.mean(normals**power) - moment
        assert abs(error) < 5 * math.sqrt(variance / MANY), power


@pytest.mark.parametrize("bound", [1, 2, 3, 3.5, 4])
def test_normal_draws_have_both_tails(normals: NDArray[np.float64], bound: float) -> None:
    # The table has as many entries beyond a bound as its bins tell: compare with the table itself
    # for the draws, and with the normal distribution to one bin of 65,536.
    beyond = MANY * float(np.mean(tables.normal_table() > bound))
    assert beyond == pytest.approx(MANY * stats.norm.sf(bound), abs=MANY / 65536)
    assert within(int((normals > bound).sum()), beyond)
    assert within(int((normals < -bound).sum()), beyond)


def test_normal_draws_fill_all_bins_evenly(normals: NDArray[np.float64]) -> None:
    counts = np.bincount(np.searchsorted(tables.normal_table(), normals) >> 6, minlength=1024)
    assert 1e-6 < stats.chisquare(counts).pvalue < 1 - 1e-6


@pytest.mark.parametrize("distance", [1, 2, 3, 8, 500, 1500])
def test_normal_draws_know_nothing_of_their_neighbours(
    normals: NDArray[np.float64], distance: int
) -> None:
    correlation = np.mean(normals[distance:] * normals[:-distance])
    assert abs(correlation) < 5 / math.sqrt(MANY)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("grey", [1, 30, 128, 255])
def test_poisson_draws_have_mean_variance_and_tails_of_a_poisson_count(
    scale: int, grey: int
) -> None:
    number, mean = 200_000, grey * scale / 255
    counts = keyed_draws(f"car/{grey}", "shot_noise", 1).poisson(
        np.full((number, 1, 1), grey, dtype=np.uint8), scale
    )
    assert abs(counts.mean() - mean) < 5 * math.sqrt(mean / number)
    spread = math.sqrt((mean + 2 * mean**2) / number)  # fourth central moment: m + 3 m**2
    assert abs(counts.var() - mean) < 5 * spread
    for far in (1e-2, 1e-3, 1e-4):
        bound = stats.poisson.isf(far, mean)
        beyond = number * stats.poisson.sf(bound, mean)
        assert abs((counts > bound).sum() - beyond) < 5 * math.sqrt(beyond) + 1


def test_poisson_draws_follow_the_distribution() -> None:
    number, mean = 400_000, 12 * 200 / 255
    grey = np.full((number, 1, 1), 200, dtype=np.uint8)
    counts = np.bincount(keyed_draws("car/a", "shot_noise", 3).poisson(grey, 12).ravel())
    expected = number * stats.poisson.pmf(np.arange(len(counts)), mean)
    often = expected > 10
    squares = (counts[often] - expected[often]) ** 2 / expected[often]
    assert 1e-6 < stats.chi2.sf(squares.sum(), often.sum()) < 1 - 1e-6


def test_uniform_draws_fill_their_range_evenly_and_reach_no_end() -> None:
    numbers = keyed_draws("car/a", "fog", 1).uniform(-4, 12, (400_000,))
    counts, _ = np.histogram(numbers, bins=512, range=(-4, 12))
    assert 1e-6 < stats.chisquare(counts).pvalue < 1 - 1e-6
    assert -4 < numbers.min() < -3.99
    assert 11.99 < numbers.max() < 12


def test_integer_draws_favour_none() -> None:
    draws = keyed_draws("car/a", "frost", 1)
    counts = Counter(draws.integer(5) for _ in range(5000))
    assert stats.chisquare([counts[number] for number in range(5)]).pvalue > 1e-6


@pytest.mark.parametrize("amount", [0.03, 0.27])
def test_impulses_are_as_many_as_asked_for_half_of_them_salt(amount: float) -> None:
    found = keyed_draws("car/a", "impulse_noise", 1).impulses((500, 375, 3), amount)
    expected = amount / 2 * found.size
    assert within(int((found == 1).sum()), expected)
    assert within(int((found == -1).sum()), expected)


def highest_correlation(rows: NDArray[np.float64]) -> float:
    """The largest correlation between any two rows, in units of its standard deviation."""
    correlations = np.asarray(np.corrcoef(rows))
    np.fill_diagonal(correlations, 0)
    return float(np.abs(correlations).max() * math.sqrt(rows.shape[1]))


def test_no_two_cells_of_a_picture_are_correlated() -> None:
    rows = [keyed_draws("car/a", str(c.corruption), c.severity) for c in spec.CORRUPTED]
    assert highest_correlation(np.stack([draws.normal((20_000,)) for draws in rows])) < 5.5


def test_no_two_pictures_are_correlated() -> None:
    rows = [keyed_draws(f"car/2008_{number:06}", "snow", 1) for number in range(75)]
    assert highest_correlation(np.stack([draws.normal((20_000,)) for draws in rows])) < 5.5


def test_no_two_channels_and_no_two_draws_are_correlated() -> None:
    draws = keyed_draws("car/a", "fog", 5)
    arrays = [draws.normal((200, 300, 3)).reshape(-1, 3).T for _ in range(9)]
    assert highest_correlation(np.concatenate(arrays)) < 5.5


def test_neighbouring_keys_are_not_correlated() -> None:
    # Keys that differ in one bit, as no digest would: the generator alone must keep them apart.
    keys = [bytes(8)] + [(1 << bit).to_bytes(8, "little") for bit in range(64)]
    assert highest_correlation(np.stack([KeyedDraws(k).normal((20_000,)) for k in keys])) < 5.5
