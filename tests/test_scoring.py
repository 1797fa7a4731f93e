"""A whole run's scores equal the metric's own, part by part, and what pandas makes of points."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from spairc.cli import main
from spairc.metrics import Answers
from spairc.protocols import PROTOCOLS, Protocol
from spairc.runs import Run, write_points
from spairc.scoring import ALPHAS, check_direction, pair_hits, protocols_of, score, write_scores
from spairc.types import CLEAN, BadInput, Condition

FOG = Condition("fog", 3)
FORWARD = [each for each in PROTOCOLS.values() if each.direction == "forward"]
COLUMNS = {"viewpoint": 0, "scale": 1, "truncation": 2, "occlusion": 3}
LEVELS = {"easy": 0, "medium": 1, "hard": 2, "none": 0, "source": 1, "target": 2, "both": 3}

MakeRun = Callable[..., Run]


def command(*arguments: object) -> Result:
    """Run `spairc` in this process; a traceback is a failure of the test."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def run(make_run: MakeRun) -> Run:
    """Three conditions of 38 invented pairs."""
    return make_run()


def part_of(answers: Answers, breakdown: str, level: str) -> Answers:
    """The answers to the pairs of one level, chosen pair by pair."""

    def belongs(number: int) -> bool:
        pair = answers.pairs[number]
        if breakdown in COLUMNS:
            return pair.variation[COLUMNS[breakdown]] == LEVELS[level]
        told = {"all": "all", "category": pair.category, "points": str(len(pair.source_points))}
        return told[breakdown] == level

    chosen = np.array([number for number in range(len(answers.pairs)) if belongs(number)])
    return Answers(answers.pairs.select(chosen), answers.found[answers.pairs.rows(chosen)])


@pytest.mark.parametrize("protocol", FORWARD, ids=lambda each: each.name)
def test_every_part_has_the_score_that_the_metric_gives_its_pairs(
    run: Run, protocol: Protocol
) -> None:
    alphas = (0.05, 0.1, 0.15)
    scored = score(run, [protocol], alphas)
    assert len(scored.levels) == 1 + 3 + 3 + 3 + 4 + 4 + 5
    answers = run.answers(FOG)
    for level in scored.levels:
        part = part_of(answers, *level)
        for alpha in alphas:
            found = scored.of(protocol.name, alpha, level)[FOG]
            assert found == pytest.approx(protocol.metric(alpha)(part))
        assert scored.pairs_of(level) == len(part.pairs)


def test_the_whole_has_the_score_that_the_run_has(run: Run) -> None:
    scored = score(run, FORWARD)
    for protocol in FORWARD:
        expected = run.scores(protocol.metric())
        assert list(expected) == [CLEAN, Condition("snow", 1), FOG]
        assert scored.of(protocol.name, 0.1) == pytest.approx(expected)


def test_breakdowns_equal_pandas_group_bys_over_points(run: Run) -> None:
    write_scores(run)
    stored = pd.read_parquet(run.folder / "breakdowns.parquet")
    assert (stored["breakdown"] != "all").all()
    pairs = run.pairs
    of_pair = pd.DataFrame({"category": pairs.categories, "points": pairs.counts.astype(str)})
    for name, column in COLUMNS.items():
        of_pair[name] = pairs.variations[:, column]
    of_point = of_pair.loc[pairs.pair_of_point].reset_index(names="pair")
    for condition in run.conditions:
        for name, average in (("dift", "point"), ("paper", "image")):
            of_point["hit"] = PROTOCOLS[name].metric(0.05).hits(run.answers(condition))
            rows = stored.query(
                f"condition == '{condition}' & protocol == '{name}' & alpha == 0.05"
            )
            for breakdown in map(str, of_pair):
                groups = [breakdown] if average == "point" else [breakdown, "pair"]
                means = of_point.groupby(groups)["hit"].mean()
                means = means if average == "point" else means.groupby(breakdown).mean()
                found = rows[rows["breakdown"] == breakdown]
                keys = [LEVELS[key] if breakdown in COLUMNS else key for key in found["level"]]
                np.testing.assert_allclose(found["pck"], 100 * means.loc[keys])
                assert len(found) == len(means)


def test_scores_have_a_row_for_each_condition_protocol_and_tolerance(run: Run) -> None:
    write_scores(run)
    stored = pd.read_parquet(run.folder / "scores.parquet")
    assert len(stored) == 3 * len(FORWARD) * len(ALPHAS)
    assert not stored.duplicated(["condition", "protocol", "alpha"]).any()
    row = stored.query("condition == 'fog@3' & protocol == 'dift' & alpha == 0.05").iloc[0]
    metric = PROTOCOLS["dift"].metric(0.05)
    assert row["metric"] == str(metric)
    assert row["pck"] == pytest.approx(metric(run.answers(FOG)))
    assert (row["corruption"], row["severity"], row["group"]) == ("fog", 3, "weather")
    assert (row["pairs"], row["points"]) == (len(run.pairs), len(run.pairs.target_points))


def test_a_group_by_of_the_file_gives_the_mean_over_a_group_of_corruptions(run: Run) -> None:
    write_scores(run)
    stored = pd.read_parquet(run.folder / "scores.parquet")
    rows = stored.query("protocol == 'paper' & alpha == 0.1")
    means = rows.groupby("group", observed=True)["pck"].mean()
    scores = run.scores(PROTOCOLS["paper"].metric())
    assert means["weather"] == pytest.approx((scores[FOG] + scores[Condition("snow", 1)]) / 2)
    assert means["clean"] == pytest.approx(scores[CLEAN])


def test_answers_exactly_at_the_tolerance_count_only_where_the_protocol_says_so(
    make_run: MakeRun, run: Run
) -> None:
    extent = run.pairs.target_boxes[:, 2:] - run.pairs.target_boxes[:, :2]
    box = np.array([0.0, 0.0, 80.0, 40.0])
    pairs = replace(run.pairs, target_boxes=np.tile(box, (len(extent), 1)))
    tied = make_run("tied", pairs=pairs, conditions=[])
    found = pairs.target_points + np.array([4.0, 0.0])
    write_points(tied.predictions(CLEAN), pairs, found)
    scored = score(tied, [PROTOCOLS["original"], PROTOCOLS["geoaware-image"]], [0.05, 0.06])
    assert scored.of("original", 0.05)[CLEAN] == 100
    assert scored.of("geoaware-image", 0.05)[CLEAN] == 0
    assert scored.of("geoaware-image", 0.06)[CLEAN] == 100


def test_pairs_of_an_unknown_level_are_in_no_level_but_in_the_whole(make_run: MakeRun) -> None:
    known = make_run("known").pairs
    variations = known.variations.copy()
    variations[::2, 0] = -1
    variations[:, 1] = -1
    run = make_run("some", pairs=replace(known, variations=variations))
    scored = score(run, [PROTOCOLS["paper"]])
    viewpoints = [level for level in scored.levels if level[0] == "viewpoint"]
    assert sum(map(scored.pairs_of, viewpoints)) == len(known) // 2
    for breakdown in ("all", "category", "truncation", "points"):
        levels = [level for level in scored.levels if level[0] == breakdown]
        assert sum(map(scored.pairs_of, levels)) == len(known)
    assert not [level for level in scored.levels if level[0] == "scale"]


def test_a_level_without_pairs_has_no_score(make_run: MakeRun) -> None:
    known = make_run("known").pairs
    variations = known.variations.copy()
    variations[:, 2] = np.where(variations[:, 2] == 1, 0, variations[:, 2])
    scored = score(make_run("some", pairs=replace(known, variations=variations)), FORWARD)
    assert ("truncation", "source") not in scored.levels
    assert scored.of("paper", 0.1, ("truncation", "source")) == {}
    assert scored.pairs_of(("truncation", "source")) == 0
    assert np.isfinite(scored.pck).all()


def test_hits_of_a_pair_are_counted_for_every_condition(run: Run) -> None:
    metric = PROTOCOLS["paper"].metric()
    hits = pair_hits(run, metric)
    assert hits.shape == (3, len(run.pairs))
    for row, condition in zip(hits, run.conditions, strict=True):
        shares = 100 * row / run.pairs.counts
        np.testing.assert_allclose(shares, metric.per_pair(run.answers(condition)))


def test_a_run_is_scored_by_the_protocols_of_its_direction(make_run: MakeRun) -> None:
    reversed_run = make_run("back", direction="reversed")
    assert {each.name for each in protocols_of(reversed_run)} == {
        "cats",
        "pf-pascal-paper",
        "pf-pascal-box",
    }
    with pytest.raises(BadInput, match=r"protocol 'paper' needs answers asked forward; .*reversed"):
        check_direction(reversed_run, PROTOCOLS["paper"])


def test_the_order_of_tolerances_does_not_matter(run: Run) -> None:
    one, other = (score(run, FORWARD, alphas) for alphas in ([0.2, 0.1, 0.1], [0.1, 0.2]))
    assert one.alphas == (0.1, 0.2)
    np.testing.assert_array_equal(one.pck, other.pck)


@pytest.mark.parametrize("alpha", [0.0, -0.1, float("nan")])
def test_a_tolerance_that_is_not_positive_is_refused(run: Run, alpha: float) -> None:
    with pytest.raises(BadInput, match="it must be above 0"):
        score(run, FORWARD, [0.1, alpha])


def test_a_run_without_a_complete_condition_has_no_scores(make_run: MakeRun) -> None:
    empty = make_run("empty", conditions=[])
    for work in (write_scores, lambda run: pair_hits(run, PROTOCOLS["paper"].metric())):
        with pytest.raises(BadInput, match="no condition is complete"):
            work(empty)


def test_score_prints_every_protocol_and_writes_the_files(run: Run) -> None:
    result = command("score", run.folder)
    assert result.exit_code == 0, result.output
    metric = PROTOCOLS["dift"].metric()
    line = next(each for each in result.output.splitlines() if each.startswith("dift "))
    assert line.split()[1] == f"{run.scores(metric)[CLEAN]:.1f}"
    assert line.endswith(str(metric))
    assert "mean of 2 corrupted" in result.output
    assert (run.folder / "scores.parquet").is_file()
    assert (run.folder / "breakdowns.parquet").is_file()


def test_score_prints_one_protocol_in_full_at_any_tolerance(run: Run) -> None:
    result = command("score", run.folder, "--protocol", "dift", "--alpha", "0.07")
    assert "PCK@0.07 (box, per point, original), protocol dift" in result.output
    result = command("score", run.folder, "--alpha", "0.3")
    assert "PCK@0.3 (box, per image, square)" in result.output
    stored = pd.read_parquet(run.folder / "scores.parquet")
    assert stored["alpha"].max() == 0.3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--protocol", "cats"), "protocol 'cats' needs answers asked reversed"),
        (("--protocol", "catz"), "no protocol is called 'catz'; did you mean 'cats'?"),
        (("--alpha", "0"), "alpha is 0.0; it must be above 0"),
        (("--baseline", "published"), "give --protocol beside --baseline"),
    ],
)
def test_score_refuses_in_one_line_and_writes_nothing(
    run: Run, options: tuple[str, ...], message: str
) -> None:
    result = command("score", run.folder, *options)
    assert result.exit_code == 2
    assert message in result.output
    assert result.output.count("\n") == 1
    assert not list(Path(run.folder).glob("*scores*"))
