"""The run that is nearest to the published table is found, and told where it is farthest."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from spairc.cli import main
from spairc.pairs import PairTable, table_of
from spairc.published import OFFICIAL_TEST_PAIRS, TABLE_4
from spairc.report import fit as fits
from spairc.report.fit import fit
from spairc.runs import Run, Settings, create_run, write_points
from spairc.spec import CONDITIONS
from spairc.types import CLEAN, BadInput, Box, Condition, Pair, Size

CATS = TABLE_4["CATs"].scores()
PAIRS = 1000  # a tenth of a percentage point each


def test_the_published_scores_fit_themselves() -> None:
    found = fit("itself", CATS)
    assert (found.root_mean_square, found.mean, found.clean) == (0, 0, 0)


def test_distance_mean_and_worst_cell_are_told() -> None:
    scores = {each: score + 1 for each, score in CATS.items()}
    scores[Condition("frost", 4)] -= 9
    found = fit("moved", scores)
    assert found.root_mean_square == pytest.approx(np.sqrt((74 * 1 + 64) / 75))
    assert found.mean == pytest.approx((74 - 8) / 75)
    assert found.largest == pytest.approx(-8)
    assert found.largest_cell == Condition("frost", 4)
    assert found.farthest == "frost"
    assert found.clean == pytest.approx(1)


def test_another_models_rows_can_be_fitted() -> None:
    matchme = TABLE_4["MatchMe-CATs"].scores()
    assert fit("m", matchme, "MatchMe-CATs").root_mean_square == 0
    assert fit("m", matchme).mean == pytest.approx(40.9 - 36.7, abs=0.1)


def test_an_incomplete_run_is_refused() -> None:
    with pytest.raises(BadInput, match="a: 75 of 76 conditions are missing; complete the run"):
        fit("a", {CLEAN: 49.9})


def pairs() -> PairTable:
    """Pairs of one point each in a picture of 100 x 100 with a box as large."""
    return table_of(
        [
            Pair(
                id=str(number),
                category="car",
                source="car/a",
                target="car/b",
                source_points=np.array([[3.0, 4.0]]),
                target_points=np.array([[50.0, 50.0]]),
                source_box=Box(0, 0, 90, 70),
                target_box=Box(0, 0, 100, 100),
                source_size=Size(90, 70),
                target_size=Size(100, 100),
            )
            for number in range(PAIRS)
        ]
    )


def run_with(folder: Path, side: str, shift: float) -> Run:
    """A run whose scores are those of Table 4, higher by `shift`."""
    table = pairs()
    settings = Settings(
        package="0",
        model="cats",
        details={},
        dataset="spair71k",
        split="test",
        layout="large",
        pairs=len(table),
        points=len(table),
        pair_list=table.hash,
        pictures="",
        corrupted={"spec": "spair-c/0", "format": "lossless"},
        side=side,
        direction="forward",
        versions={},
    )
    run = create_run(folder, settings, table)
    for condition in CONDITIONS:
        right = round((CATS[condition] + shift) * PAIRS / 100)
        found = np.where(np.arange(PAIRS)[:, None] < right, 50.0, 0.0).repeat(2, axis=1)
        write_points(run.predictions(condition), table, found)
    return run


def test_the_nearest_run_stands_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fits, "is_official_test_list", lambda _: True)
    folders = [
        run_with(tmp_path / name, name, shift).folder
        for name, shift in (("source", 6.0), ("both", -0.5), ("target", 3.0))
    ]
    result = CliRunner().invoke(main, ["fit-protocol", *map(str, folders)])
    assert result.exit_code == 0, result.output
    rows = [line.split()[:2] for line in result.output.splitlines()[4:] if line]
    assert rows == [["both", "(both;"], ["target", "(target;"], ["source", "(source;"]]
    assert "-0.5" in result.output


def test_a_run_on_other_pairs_is_refused(tmp_path: Path) -> None:
    folder = run_with(tmp_path / "run", "both", 0).folder
    result = CliRunner().invoke(main, ["fit-protocol", str(folder)])
    assert result.exit_code == 2
    assert "was run on 1000 pairs; Table 4 is of SPair-71k's 12,234 test pairs" in result.stderr
    assert sum(OFFICIAL_TEST_PAIRS.values()) == 12_234
