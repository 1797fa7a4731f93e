"""Intervals: against slow loops and scipy, and how often they hold the truth, by simulation."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats

from spairc.metrics import PCK, mce, mean_corrupted, relative_corrupted, relative_mce
from spairc.pairs import PairTable
from spairc.protocols import PROTOCOLS
from spairc.report.summary import errors
from spairc.runs import Run
from spairc.scoring import pair_hits
from spairc.spec import CONDITIONS
from spairc.statistics import (
    OF_A_PAIR,
    OF_A_PICTURE,
    Interval,
    Sample,
    TooFew,
    expected_margin,
    resample,
    resampled_weights,
)
from spairc.types import CLEAN, BadInput, Condition

FOG = Condition("fog", 3)
METRIC = PROTOCOLS["paper"].metric()
POINTS = 20  # of each simulated pair

MakeRun = Callable[..., Run]
Ends = Sequence[tuple[int, int]]


def draws(seed: int = 0) -> np.random.Generator:
    """A stream of its own."""
    return np.random.default_rng(seed)


def every_pair(pictures: int) -> Ends:
    """All ordered pairs, as SPair-71k has them."""
    return [(i, j) for i in range(pictures) for j in range(pictures) if i != j]


def pairs_apart(pictures: int) -> Ends:
    """Every picture in one pair only."""
    return [(i, i + 1) for i in range(0, pictures, 2)]


def table(categories: int, ends: Ends) -> PairTable:
    """The same pairs of pictures in each category; only who is paired with whom matters."""
    every = [(f"c{k}", f"c{k}/{i:02}", f"c{k}/{j:02}") for k in range(categories) for i, j in ends]
    names, sources, targets = map(np.array, zip(*every, strict=True))
    number = len(every)
    return PairTable(
        ids=np.arange(number).astype(np.str_),
        categories=names,
        sources=sources,
        targets=targets,
        first_point=np.arange(number + 1) * POINTS,
        source_points=np.zeros((number * POINTS, 2)),
        target_points=np.zeros((number * POINTS, 2)),
        source_boxes=np.zeros((number, 4)),
        target_boxes=np.zeros((number, 4)),
        source_sizes=np.ones((number, 2), dtype=np.int64),
        target_sizes=np.ones((number, 2), dtype=np.int64),
        variations=np.full((number, 4), -1, dtype=np.int8),
    )


def simulated_hits(
    pairs: PairTable, stream: np.random.Generator, *, of_picture: float, of_pair: float
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Hits of each pair: half of the points, more or less by source, target and pair.

    Symmetric, so the true PCK is 50 exactly.
    """
    keys = np.concatenate([pairs.sources, pairs.targets])
    source, target = np.unique(keys, return_inverse=True)[1].reshape(2, -1)
    ease = stream.normal(0, of_picture, (2, source.max() + target.max() + 1))
    noise = stream.normal(0, of_pair, len(pairs))
    share = np.clip(0.5 + ease[0][source] + ease[1][target] + noise, 0, 1)
    hits: np.ndarray[tuple[int], np.dtype[np.int64]] = np.rint(POINTS * share).astype(np.int64)
    return hits


def sample(pairs: PairTable, *hits: object, metric: PCK = METRIC) -> Sample:
    """A run under one condition for each row of hits."""
    conditions = (CLEAN, *CONDITIONS[1:])[: len(hits)]
    return Sample(pairs, conditions, metric, np.array(hits))


def sample_of(run: Run, metric: PCK) -> Sample:
    """What a run found."""
    return Sample(run.pairs, run.conditions, metric, pair_hits(run, metric))


def test_a_pair_weighs_as_often_as_both_its_pictures_were_drawn() -> None:
    pairs = table(2, [*every_pair(7), (0, 1)])
    for positions, weights in resampled_weights(pairs, draws(), 50):
        assert (weights[0] == 1).all()
        ends = [(pairs.sources[p], pairs.targets[p]) for p in positions]
        back = [ends.index((target, source)) for source, target in ends]
        np.testing.assert_array_equal(weights[:, back], weights)
        # times[a] from the products over triples: w_ab w_ac / w_bc is times[a] squared
        for row in weights[1:]:
            of = dict(zip(ends, row, strict=True))
            names = sorted({name for each in ends for name in each})
            drawn = [name for name in names if any(of[name, n] for n in names if n != name)]
            if len(drawn) >= 3:
                times = {
                    a: np.sqrt(of[a, b] * of[a, c] / of[b, c])
                    for a in drawn
                    for b, c in [[n for n in drawn if n != a][:2]]
                }
                assert sum(times.values()) == pytest.approx(len(names) - 3)


def test_every_category_is_drawn_from_for_itself() -> None:
    pairs = table(3, every_pair(9))
    found = {}
    for positions, weights in resampled_weights(pairs, draws(), 40):
        (category,) = set(pairs.categories[positions].tolist())
        found[category] = weights
    assert list(found) == ["c0", "c1", "c2"]
    assert not np.array_equal(found["c0"], found["c1"])


@pytest.mark.parametrize("name", ["paper", "dift", "paper-macro", "sd-dino", "sd-dino-macro"])
def test_a_resample_scores_as_the_metric_scores_a_list_with_repeated_pairs(
    make_run: MakeRun, name: str
) -> None:
    run, metric, count = make_run(conditions=[CLEAN, FOG]), PROTOCOLS[name].metric(), 30
    found = resample([sample_of(run, metric)], draws(4), resamples=count).values[0]
    weights = np.zeros((count + 1, len(run.pairs)))
    for positions, chosen in resampled_weights(run.pairs, draws(4), count):
        weights[:, positions] = chosen
    for place, condition in enumerate(run.conditions):
        answers = run.answers(condition)
        for row in range(count + 1):
            repeated = np.repeat(np.arange(len(run.pairs)), weights[row].astype(int))
            longer = replace(
                answers,
                pairs=run.pairs.select(repeated),
                found=answers.found[run.pairs.rows(repeated)],
            )
            assert found[row, place] == pytest.approx(metric(longer))


def test_the_interval_agrees_with_scipys_bootstrap_of_pictures() -> None:
    pairs = table(1, every_pair(14))
    hits = simulated_hits(pairs, draws(1), of_picture=0.1, of_pair=0.1)
    ours = resample([sample(pairs, hits)], draws(2), resamples=4000).intervals(0)["clean PCK"]
    score = np.full((14, 14), np.nan)
    score[tuple(np.transpose(every_pair(14)))] = 100 * hits / POINTS

    def mean_of_pairs(drawn: np.ndarray[tuple[int], np.dtype[np.int64]]) -> float:
        # Three fewer, as ours; scipy itself always draws all.
        chosen = drawn[:-3]
        return float(np.nanmean(score[np.ix_(chosen, chosen)]))

    theirs = scipy.stats.bootstrap(
        (np.arange(14),),
        mean_of_pairs,
        n_resamples=4000,
        vectorized=False,
        method="percentile",
        rng=draws(3),
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.6)
    assert ours.estimate == pytest.approx(np.nanmean(score))


def coverage(pairs: PairTable, repeats: int, *, of_picture: float, of_pair: float) -> float:
    """How often the interval holds the true PCK of 50."""
    stream, inside = draws(7), 0
    for _ in range(repeats):
        hits = simulated_hits(pairs, stream, of_picture=of_picture, of_pair=of_pair)
        found = resample([sample(pairs, hits)], stream, resamples=200).intervals(0)["clean PCK"]
        inside += found.low <= 50 <= found.high
    return inside / repeats


def test_the_true_score_is_in_95_of_100_intervals_where_pictures_matter() -> None:
    assert 0.9 <= coverage(table(6, every_pair(10)), 120, of_picture=0.1, of_pair=0.1) <= 0.99


@pytest.mark.slow
@pytest.mark.parametrize(
    ("categories", "ends", "of_pair", "low", "high"),
    [
        (6, every_pair(12), 0.1, 0.94, 0.98),
        (4, every_pair(27), 0.1, 0.935, 0.965),  # as many pictures as SPair-71k's categories have
        (6, every_pair(12), 0.3, 0.975, 1.0),  # what belongs to a pair alone is overrated
        (10, pairs_apart(20), 0.1, 0.99, 1.0),  # most of all where no picture is shared
        (10, every_pair(4), 0.1, 0.85, 0.91),  # too few pictures
    ],
)
def test_coverage_is_as_the_module_says(
    categories: int, ends: Ends, of_pair: float, low: float, high: float
) -> None:
    assert low <= coverage(table(categories, ends), 2000, of_picture=0.1, of_pair=of_pair) <= high


def test_pairs_taken_for_independent_would_give_half_the_width() -> None:
    pairs = table(6, every_pair(12))
    hits = simulated_hits(pairs, draws(3), of_picture=0.1, of_pair=0.05)
    found = resample([sample(pairs, hits)], draws()).intervals(0)["clean PCK"]
    naive = 2 * 1.96 * float(np.std(100 * hits / POINTS)) / np.sqrt(len(pairs))
    assert found.high - found.low > 2 * naive


def test_a_difference_is_surer_than_its_two_sides_when_the_same_pairs_are_hard_for_both() -> None:
    pairs = table(5, every_pair(12))
    hits = simulated_hits(pairs, draws(3), of_picture=0.12, of_pair=0.0)
    better = np.minimum(hits + 1, POINTS)
    found = resample([sample(pairs, better), sample(pairs, hits)], draws())
    one, other = (found.intervals(place)["clean PCK"] for place in (0, 1))
    difference = found.differences(0, 1)["clean PCK"]
    assert one.low < other.high  # each on its own does not tell
    assert difference.excludes_zero
    assert difference.low == pytest.approx(difference.high, abs=0.8)
    assert difference.estimate == pytest.approx(one.estimate - other.estimate)


def test_a_run_does_not_differ_from_itself() -> None:
    pairs = table(2, every_pair(8))
    same = sample(pairs, simulated_hits(pairs, draws(), of_picture=0.1, of_pair=0.1))
    assert resample([same, same], draws()).differences(0, 1)["clean PCK"] == Interval(0, 0, 0)


def full_sample(pairs: PairTable, seed: int) -> Sample:
    """A run under all conditions that finds less the more severe they are."""
    stream = draws(seed)
    hits = [
        np.rint(
            simulated_hits(pairs, stream, of_picture=0.1, of_pair=0.1) * (1 - each.severity / 9)
        )
        for each in CONDITIONS
    ]
    return sample(pairs, *hits)


def scores_of(each: Sample) -> dict[Condition, float]:
    """The scores of a sample by condition."""
    means = (100 * each.hits / POINTS).mean(axis=1)
    return dict(zip(each.conditions, means.tolist(), strict=True))


def test_the_estimates_of_a_complete_run_are_the_metrics_own() -> None:
    pairs = table(3, every_pair(6))
    run, baseline = full_sample(pairs, 1), full_sample(pairs, 2)
    found = resample([run], draws(), baseline=baseline, resamples=99).intervals(0)
    mine, theirs = scores_of(run), scores_of(baseline)
    assert found["clean PCK"].estimate == pytest.approx(mine[CLEAN])
    assert found["mPC"].estimate == pytest.approx(mean_corrupted(mine))
    assert found["rPC"].estimate == pytest.approx(relative_corrupted(mine))
    assert found["mCE"].estimate == pytest.approx(mce(errors(mine), errors(theirs)))
    expected = relative_mce(errors(mine), errors(theirs))
    assert found["relative mCE"].estimate == pytest.approx(expected)
    fog = [mine[Condition("fog", severity)] for severity in range(1, 6)]
    assert found["fog"].estimate == pytest.approx(np.mean(fog))
    blur = [mine[c] for c in CONDITIONS if c.corruption in ("gaussian_blur", "defocus_blur")]
    assert found["blur"].estimate == pytest.approx(np.mean(blur))
    assert all(each.low <= each.estimate <= each.high for each in found.values())


def test_the_baseline_is_resampled_along_unless_its_scores_are_fixed() -> None:
    pairs = table(3, every_pair(6))
    run = full_sample(pairs, 1)
    itself = resample([run], draws(), baseline=run).intervals(0)["mCE"]
    assert (itself.low, itself.high) == pytest.approx((100, 100))
    backwards = replace(run, conditions=run.conditions[::-1], hits=run.hits[::-1])
    assert resample([run], draws(), baseline=backwards).intervals(0)["mCE"] == itself
    fixed = resample([run], draws(), baseline=scores_of(run)).intervals(0)["mCE"]
    assert fixed.estimate == pytest.approx(100)
    assert fixed.low < 99.5
    assert fixed.high > 100.5


def test_relative_mce_is_over_the_corruptions_that_hurt_the_baseline() -> None:
    pairs = table(2, every_pair(6))
    run, baseline = full_sample(pairs, 1), full_sample(pairs, 2)
    flat = [c.corruption == "brightness" for c in CONDITIONS]
    baseline = replace(
        baseline, hits=np.where(np.array(flat)[:, None], baseline.hits[0], baseline.hits)
    )
    found = resample([run], draws(), baseline=baseline).intervals(0)["relative mCE"]
    expected = relative_mce(errors(scores_of(run)), errors(scores_of(baseline)))
    assert found.estimate == pytest.approx(expected)
    nothing = replace(baseline, hits=np.tile(baseline.hits[0], (len(CONDITIONS), 1)))
    assert "relative mCE" not in resample([run], draws(), baseline=nothing).names


def test_a_run_of_some_conditions_has_intervals_for_each_of_them(make_run: MakeRun) -> None:
    run = make_run(conditions=[CLEAN, FOG])
    fixed = dict.fromkeys(CONDITIONS, 1.0)
    found = resample([sample_of(run, METRIC)], draws(), baseline=fixed)
    assert found.names == ("clean PCK", "fog@3")


def test_the_same_stream_gives_the_same_intervals() -> None:
    pairs = table(2, every_pair(6))
    run = sample(pairs, simulated_hits(pairs, draws(), of_picture=0.1, of_pair=0.1))
    one, same, other = (resample([run], draws(seed)).intervals(0) for seed in (1, 1, 2))
    assert one == same
    assert one != other


def test_runs_that_do_not_belong_together_are_refused() -> None:
    pairs, others = table(2, every_pair(6)), table(2, every_pair(7))
    hits = np.ones(len(pairs), dtype=np.int64)
    run = sample(pairs, hits)
    unlike = [
        sample(others, np.ones(len(others), dtype=np.int64)),
        sample(pairs, hits, metric=PCK("original")),
    ]
    for other in unlike:
        with pytest.raises(BadInput, match="only runs on the same pairs, under the same metric"):
            resample([run, other], draws())
    with pytest.raises(BadInput, match="no condition in common"):
        resample([run, replace(run, conditions=(FOG,))], draws())
    with pytest.raises(BadInput, match="ask for at least 1 resample"):
        resample([run], draws(), resamples=0)
    with pytest.raises(BadInput, match="the baseline lacks 75 of the 76 conditions"):
        resample([full_sample(pairs, 1)], draws(), baseline=run)


def test_too_few_pictures_have_no_interval() -> None:
    pairs = table(1, every_pair(2))
    with pytest.raises(TooFew, match=r"\d+ of 200 resamples hold no pair; use more pictures"):
        resample([sample(pairs, [3, 4])], draws(), resamples=200)


@pytest.mark.parametrize(
    ("low", "high", "real"), [(0.1, 2.0, True), (-2, -0.1, True), (-1, 1, False), (0, 1, False)]
)
def test_a_difference_is_real_where_its_interval_excludes_zero(
    low: float, high: float, *, real: bool
) -> None:
    assert Interval(0.5, low, high).excludes_zero is real


def test_fewer_pictures_are_expected_to_have_wider_intervals() -> None:
    wide, narrow = (expected_margin(table(1, every_pair(count))) for count in (5, 12))
    assert 3 < narrow < wide < 40
    assert expected_margin(table(1, every_pair(5))) == wide  # the same each time


def test_the_expected_margin_is_that_of_the_scatter_it_supposes() -> None:
    # Each of 14 pictures is in both roles; a pair's own scatter counts three times, see above.
    pairs = table(1, every_pair(14))
    variance = 4 * OF_A_PICTURE**2 / 14 + 3 * OF_A_PAIR**2 / len(pairs)
    margins = [expected_margin(pairs, draws(seed)) for seed in range(30)]
    assert np.mean(margins) == pytest.approx(1.96 * np.sqrt(variance), rel=0.1)


def test_two_pictures_have_no_expected_margin() -> None:
    assert np.isnan(expected_margin(table(1, every_pair(2))))
