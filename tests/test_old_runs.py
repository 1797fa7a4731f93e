"""A run folder of every schema version that was ever written is read, and scores the same."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from spairc.cli import main
from spairc.metrics import parse_pck
from spairc.runs import SCHEMA, open_run
from spairc.scoring import write_scores
from spairc.types import CLEAN, Condition

DATA = Path(__file__).parent / "data"
FOLDERS = sorted(DATA.glob("run-schema-*"))


def test_a_folder_of_every_schema_is_kept() -> None:
    assert [each.name for each in FOLDERS] == [f"run-schema-{n}" for n in range(1, SCHEMA + 1)]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_an_old_run_is_opened_whole(folder: Path) -> None:
    run = open_run(folder)
    assert run.settings.model == "frozen"
    assert run.conditions == (CLEAN, Condition("fog", 3))
    assert len(run.pairs) == run.settings.pairs == 38
    assert len(run.answers(CLEAN).found) == run.settings.points


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_scores_of_an_old_run_are_those_that_were_written_then(
    folder: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(folder, copy)
    (copy / "scores.parquet").unlink()
    write_scores(open_run(copy), [0.05, 0.1])
    for name in ("scores", "breakdowns"):
        old, new = (pq.read_table(each / f"{name}.parquet").to_pandas() for each in (folder, copy))
        # A protocol may have been added since; none may have gone or changed.
        kept = new[new["protocol"].isin(old["protocol"].unique())].reset_index(drop=True)
        pd.testing.assert_frame_equal(
            kept.astype({"protocol": "str", "metric": "str"}),
            old.astype({"protocol": "str", "metric": "str"}),
            check_categorical=False,
        )


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_old_score_names_its_metric_in_full(folder: Path) -> None:
    run = open_run(folder)
    rows = pq.read_table(folder / "scores.parquet").to_pylist()
    for row in rows[:: len(rows) // 7]:
        condition = CLEAN if row["condition"] == "clean" else Condition("fog", 3)
        score = parse_pck(row["metric"])(run.answers(condition))
        np.testing.assert_allclose(row["pck"], score, rtol=1e-12)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_an_old_run_is_reported(folder: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["report", str(folder), "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "frozen: PCK@0.1 (box, per image, square), protocol paper" in result.output
