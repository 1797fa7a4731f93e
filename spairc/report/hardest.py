"""The pairs that a corruption breaks most often, and their match pictures."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from spairc.datasets import load_dataset
from spairc.datasets.check import check_pictures
from spairc.images import joint_hash
from spairc.metrics import PCK
from spairc.official import open_corrupted
from spairc.pictures import InMemory, Pictures
from spairc.report.canvas import PAPER
from spairc.report.matches import match_picture
from spairc.runs import Run
from spairc.spec import SEVERITIES
from spairc.types import CLEAN, BadInput, Condition, Image, Pair, Size

NUMBER = 4  # pairs of a run that are shown
_GAP = 36  # pixels between clean and corrupted


@dataclass(frozen=True, eq=False)
class HardPair:
    """A pair whose points are found on clean pictures and lost on corrupted ones."""

    position: int  # in the run's list
    pair: Pair
    lost: int  # times that a point that was right when clean was wrong, over all conditions
    asked: int  # times that it could have been
    worst: Condition  # where most points are lost; of several the mildest
    caption: str


@dataclass(frozen=True, eq=False)
class Match:
    """A match picture and what it shows."""

    condition: Condition
    image: Image
    caption: str


def hard_pairs(run: Run, metric: PCK, number: int = NUMBER) -> list[HardPair]:
    """Return the pairs that a run loses most often, the hardest first; no two of the same pictures.

    How often: of all points of the pair under all corrupted conditions that were run, the part
    that was right when clean and is wrong. So pairs that were wrong from the start do not come in.

    Args:
        run: Without clean or without any corrupted condition it has no hard pairs.
        metric: What right means.
        number: How many, at most.

    Raises:
        BadInput: If a file is damaged.
    """
    corrupted = [each for each in run.conditions if each != CLEAN]
    if not corrupted or CLEAN not in run.conditions:
        return []
    pairs = run.pairs
    clean = metric.hits(run.answers(CLEAN))
    lost = np.stack(
        [
            np.bincount(pairs.pair_of_point, clean & ~metric.hits(run.answers(each)), len(pairs))
            for each in corrupted
        ]
    )
    total = lost.sum(axis=0)
    chosen: dict[frozenset[str], int] = {}
    for position in np.argsort(-total / pairs.counts, kind="stable").tolist():
        if len(chosen) == number or total[position] == 0:
            break
        ends = frozenset((str(pairs.sources[position]), str(pairs.targets[position])))
        chosen.setdefault(ends, position)
    right = np.bincount(pairs.pair_of_point, clean, len(pairs))
    return [
        _hard_pair(run, metric, position, lost[:, position], int(right[position]), corrupted)
        for position in chosen.values()
    ]


def pictures_of(run: Run, root: Path, corrupted: Path | None = None) -> Pictures:
    """Return the pictures that a run saw.

    Args:
        run: What was run.
        root: Folder of its dataset.
        corrupted: The built set or archive that it read, if it did.

    Raises:
        BadInput: If these are other pictures.
    """
    settings = run.settings
    known = load_dataset(settings.dataset, root, split=settings.split, layout=settings.layout)
    missing = [key for key in run.pairs.image_keys if key not in known.pictures]
    if missing:
        raise BadInput(
            f"{root} is not the dataset of {run.folder}: it has no picture {missing[0]}; give the "
            f"folder that was run as --root"
        )
    dataset = replace(known, table=run.pairs)
    if joint_hash(check_pictures(dataset)) != settings.pictures:
        raise BadInput(
            f"{root} has other pictures than {run.folder} was run on; give the same as --root"
        )
    conditions = [each for each in run.conditions if each != CLEAN]
    found: Pictures = InMemory(dataset)
    if corrupted is not None:
        found = open_corrupted(corrupted, dataset, conditions)
    if dict(found.origin) != dict(settings.corrupted):
        raise BadInput(
            f"{run.folder} saw corrupted pictures of {dict(settings.corrupted)}, and these are of "
            f"{found.origin}; give the folder that was read as --corrupted"
        )
    return found


def matched(
    run: Run, metric: PCK, position: int, condition: Condition, pictures: Pictures
) -> Match:
    """Return the match picture of one pair under one condition, as the run saw it.

    Args:
        run: What was run.
        metric: What right means; it decides over the colours.
        position: Of the pair in the run's list.
        condition: One that is complete.
        pictures: The run's own: see `pictures_of`.

    Raises:
        BadInput: If the condition is not complete, or a file is damaged.
    """
    pair, side = run.pairs[position], run.settings.side
    answers = run.answers(condition)
    rows = run.pairs.rows(np.array([position]))
    right = metric.hits(answers)[rows]
    source, target = (
        _of_size(pictures.read(key, condition if side in ("both", end) else CLEAN), size)
        for end, key, size in (
            ("source", pair.source, pair.source_size),
            ("target", pair.target, pair.target_size),
        )
    )
    image = match_picture(
        source, target, pair, answers.found[rows], right=right, label=str(condition)
    )
    caption = f"{pair.id}, {condition}: {right.sum()} of {len(right)} points right, {metric}"
    return Match(condition, image, caption)


def series(
    run: Run, metric: PCK, position: int, corruption: str, pictures: Pictures
) -> list[Match]:
    """Return a pair's match pictures: clean, then each severity of a corruption that was run."""
    every = [CLEAN, *(Condition(corruption, severity) for severity in SEVERITIES)]
    known = [each for each in every if each in run.conditions]
    return [matched(run, metric, position, each, pictures) for each in known]


def plate(run: Run, metric: PCK, hard: HardPair, pictures: Pictures) -> Image:
    """Return the pair clean, and beside it where it loses most points."""
    both = [matched(run, metric, hard.position, each, pictures) for each in (CLEAN, hard.worst)]
    height = len(both[0].image)
    gap = np.full((height, _GAP, 3), PAPER, dtype=np.uint8)
    return np.concatenate([both[0].image, gap, both[1].image], axis=1)


def _hard_pair(
    run: Run,
    metric: PCK,
    position: int,
    lost: NDArray[np.integer[Any]],
    right: int,
    corrupted: Sequence[Condition],
) -> HardPair:
    """Return a pair with what it loses under each condition."""
    place = min(range(len(lost)), key=lambda each: (-lost[each], corrupted[each].severity, each))
    pair, total, asked = run.pairs[position], int(lost.sum()), right * len(corrupted)
    by_corruption: Counter[str] = Counter()
    for condition, points in zip(corrupted, lost.tolist(), strict=True):
        by_corruption[str(condition.corruption)] += int(points)
    most = by_corruption.most_common(1)[0][0].replace("_", " ")
    caption = (
        f"{pair.id}: {right} of {len(pair.source_points)} points are right when clean; they are "
        f"lost {total} of {asked} times over {len(corrupted)} corrupted conditions, most often "
        f"under {most}; {metric}"
    )
    return HardPair(position, pair, total, asked, corrupted[place], caption)


def _of_size(image: Image, size: Size) -> Image:
    """Return the picture in the size that points are told in; an archive's may have another."""
    if image.shape[1::-1] == tuple(size):
        return image
    return np.array(PIL.Image.fromarray(image).resize(size, PIL.Image.Resampling.BICUBIC))
