"""The pairs that a run loses most often, and their pictures: the ones that the run saw."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner

from spairc.build import build
from spairc.cli import main
from spairc.corruptions import corrupt
from spairc.datasets import load_dataset
from spairc.evaluate import predict
from spairc.images import read_image
from spairc.metrics import PCK
from spairc.report.hardest import hard_pairs, matched, pictures_of, plate, series
from spairc.runs import Run, write_points
from spairc.types import CLEAN, BadInput, Condition, Image, Points, Query

SQUARE = PCK("square")
FOG = [Condition("fog", severity) for severity in (1, 2, 4)]
MakeRun = Callable[..., Run]


@dataclass
class Brightness:
    """A matcher that finds points on bright pictures only: fog moves them."""

    name: str = "brightness"

    def encode(self, images: Sequence[Image]) -> list[float]:
        """Return how bright each picture is."""
        return [float(image.mean()) for image in images]

    def match(self, queries: Sequence[Query]) -> list[Points]:
        """Return the given points, moved by the difference."""
        return [query.points + query.source - query.target for query in queries]


def write(run: Run, condition: Condition, lost: Sequence[int]) -> None:
    """Write right answers but for the first so many points of each pair."""
    pairs = run.pairs
    found = pairs.target_points.copy()
    for position, number in enumerate(lost):
        rows = pairs.rows(np.array([position]))
        found[rows[:number]] += 900
    write_points(run.predictions(condition), pairs, found)


def test_hard_pairs_are_those_that_lose_the_largest_part_of_what_was_right(
    make_run: MakeRun,
) -> None:
    run = make_run("run", conditions=[])
    counts = run.pairs.counts
    write(run, CLEAN, [counts[0], *([0] * (len(counts) - 1))])  # the first was never right
    lost = np.zeros((3, len(counts)), dtype=int)
    lost[:, 0] = counts[0]
    lost[1, 5], lost[2, 5] = counts[5], counts[5]
    lost[2, 9] = counts[9]
    for condition, each in zip(FOG, lost.tolist(), strict=True):
        write(run, condition, each)
    hard = hard_pairs(run, SQUARE, 3)
    assert [each.position for each in hard] == [5, 9]
    assert [each.worst for each in hard] == [FOG[1], FOG[2]]  # of equals the mildest
    assert [each.lost for each in hard] == [2 * counts[5], counts[9]]
    assert [each.asked for each in hard] == [3 * counts[5], 3 * counts[9]]
    told = f"they are lost {2 * counts[5]} of {3 * counts[5]} times over 3 corrupted conditions"
    assert told in hard[0].caption


def test_a_pair_does_not_come_again_in_the_other_direction(make_run: MakeRun) -> None:
    hard = hard_pairs(make_run("run", conditions=[CLEAN, *FOG]), SQUARE, 100)
    ends = [frozenset((each.pair.source, each.pair.target)) for each in hard]
    assert len(set(ends)) == len(ends) > 5


@pytest.mark.parametrize("conditions", [[CLEAN], FOG])
def test_without_clean_or_without_corruption_there_are_none(
    make_run: MakeRun, conditions: list[Condition]
) -> None:
    assert hard_pairs(make_run("run", conditions=conditions), SQUARE) == []


@pytest.fixture
def run(tiny_root: Path, tmp_path: Path) -> Run:
    """A run of eight pairs on clean and foggy pictures."""
    dataset = load_dataset("spair71k", tiny_root)
    return predict(Brightness(), dataset, [CLEAN, *FOG], out=tmp_path / "run")


def test_the_pictures_are_the_runs_own_and_the_metric_decides_what_is_right(
    run: Run, tiny_root: Path
) -> None:
    pictures = pictures_of(run, tiny_root)
    pair = run.pairs[0]
    path = tiny_root / "JPEGImages" / f"{pair.source}.jpg"
    foggy = corrupt(read_image(path), "fog", severity=2, key=pair.source)
    for alpha in (0.01, 1.0):
        match = matched(run, PCK("square", alpha), 0, FOG[1], pictures)
        zoom = round(480 / pair.target_size.height)  # the taller one, see spairc.report.matches
        top = zoom * (pair.target_size.height - len(foggy)) // 2
        place = match.image[top : top + zoom * len(foggy) : zoom, ::zoom][:, : foggy.shape[1]]
        assert (place == foggy).mean() > 0.6  # the rest lies under lines and points
        right = PCK("square", alpha).hits(run.answers(FOG[1]))[: len(pair.source_points)]
        assert f"{right.sum()} of {len(right)} points right, PCK@{alpha:g}" in match.caption


def test_a_side_that_was_not_corrupted_is_shown_clean(tiny_root: Path, tmp_path: Path) -> None:
    dataset = load_dataset("spair71k", tiny_root)
    images = {}
    for side in ("source", "target"):
        run = predict(Brightness(), dataset, FOG[2:], out=tmp_path / side, side=side)
        images[side] = matched(run, SQUARE, 0, FOG[2], pictures_of(run, tiny_root)).image
    width = images["source"].shape[1]
    left = np.abs(images["source"].astype(int) - images["target"])[:, : width // 3]
    assert left.mean() > 5


def test_a_series_is_clean_and_the_severities_that_were_run(run: Run, tiny_root: Path) -> None:
    found = series(run, SQUARE, 3, "fog", pictures_of(run, tiny_root))
    assert [each.condition for each in found] == [CLEAN, *FOG]
    assert len({each.image.shape for each in found}) == 1


def test_a_plate_shows_clean_beside_the_worst(run: Run, tiny_root: Path) -> None:
    pictures = pictures_of(run, tiny_root)
    hard = hard_pairs(run, SQUARE)[0]
    both = [
        matched(run, SQUARE, hard.position, each, pictures).image for each in (CLEAN, hard.worst)
    ]
    shown = plate(run, SQUARE, hard, pictures)
    width = both[0].shape[1]
    assert np.array_equal(shown[:, :width], both[0])
    assert np.array_equal(shown[:, -width:], both[1])


def test_pictures_of_another_dataset_are_refused(run: Run, tiny_root: Path) -> None:
    picture = tiny_root / "JPEGImages" / "car" / "a.jpg"
    image = read_image(picture)
    PIL.Image.fromarray(255 - image).save(picture, quality=95)
    with pytest.raises(BadInput, match="has other pictures than"):
        pictures_of(run, tiny_root)


def test_a_set_that_the_run_did_not_read_is_refused(
    run: Run, tiny_root: Path, tmp_path: Path
) -> None:
    build(load_dataset("spair71k", tiny_root), tmp_path / "built", FOG, form="jpeg")
    with pytest.raises(BadInput, match="give the folder that was read as --corrupted"):
        pictures_of(run, tiny_root, tmp_path / "built")


@pytest.mark.slow
def test_report_draws_the_match_pictures_and_the_papers_figures_a_and_b(
    run: Run, tiny_root: Path, tmp_path: Path
) -> None:
    out = tmp_path / "figures"
    arguments = ["report", str(run.folder), "--figures", str(out), "--root", str(tiny_root)]
    result = CliRunner().invoke(main, [*arguments, "--resamples", "0"])
    assert result.exit_code == 0, result.output
    names = {path.name for path in out.glob("*.png")}
    assert {"matches-1-1.png", "figure-a.png", "figure-b.png"} <= names
    assert "green discs are right, red crosses wrong" in (out / "captions.md").read_text()
