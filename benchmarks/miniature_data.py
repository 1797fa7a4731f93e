"""What the miniature learns from: a few labelled pictures, the rest without, and the hidden truth.

`few_pictures` makes a data set in SPair-71k's layout whose training pairs are those among a few
pictures; the others of the training split become the pool. Since the key points of those are known
after all, `judged` can tell how far an annotator's labels are from them.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from matchme_train.annotate import annotate
from matchme_train.data import normalised, square, whole
from matchme_train.networks import load_weights, make_network
from matchme_train.recipe import Recipe
from spairc.datasets import load_dataset
from spairc.datasets.spair71k import image_annotation
from spairc.files import make_folder, write_text
from spairc.images import read_image
from spairc.metrics import PCK, Answers
from spairc.pairs import PairTable
from spairc.protocols import PROTOCOLS
from spairc.types import BadInput

METRIC: PCK = PROTOCOLS["paper"].metric()
LABELLED = 4  # pictures of a category, at most
UNLABELLED = 2  # that stay without labels, at least: one makes no pair
SPLITS = ("trn", "val", "test")


@dataclass(frozen=True)
class FewPictures:
    """A data set with few labels."""

    root: Path  # in SPair-71k's layout; its test split is the original's
    pool: Path  # a folder of folders: the training pictures without labels
    labelled: tuple[str, ...]  # keys of the pictures with labels
    pairs: int  # labelled pairs


@dataclass(frozen=True)
class LabelQuality:
    """Pseudo labels at the hidden key points, those that are used and those that are not."""

    points: int
    used: float  # percent of the points at whose cell the annotator is confident
    used_error: float  # mean distance from the truth, in cells of the grid
    other_error: float  # NaN where there are no others
    used_pck: float  # percent within 0.1 of the object's longer side
    other_pck: float


def few_pictures(original: Path, out: Path, seed: int) -> FewPictures:
    """Return the data set of a seed; it is made if it is not there.

    Training pairs are all listed ones among the labelled pictures. Validation pairs are the
    original's, and one for every validation picture and labelled picture of its category, in
    alternating direction: with the original's alone, eight in SPair-mini, the best epoch would be
    a matter of luck.

    Args:
        original: A set in SPair-71k's layout.
        out: A folder of this seed's own.
        seed: Which pictures are labelled.

    Raises:
        BadInput: If a category has too few training pictures.
    """
    home = load_dataset("spair71k", original, split="trn").root
    tables = {each: load_dataset("spair71k", home, split=each).table for each in SPLITS}
    chosen = chosen_pictures(tables["trn"], seed)
    few = set().union(*chosen.values())
    root, pool = out / "data", out / "pool"
    kept = [pair.id for pair in tables["trn"] if {pair.source, pair.target} <= few]
    if not (root / "complete").is_file():
        shutil.rmtree(out, ignore_errors=True)
        make_folder(root)
        (root / "JPEGImages").symlink_to((home / "JPEGImages").resolve())
        for split, table in tables.items():
            identities = kept if split == "trn" else table.ids.tolist()
            _list_pairs(home, root, split, identities)
        _add_pairs(root, "val", list(_between(home, tables["val"], chosen)))
        _fill_pool(home, pool, set(tables["trn"].image_keys) - few)
        write_text(root / "complete", "")
    return FewPictures(root, pool, tuple(sorted(few)), len(kept))


def chosen_pictures(training: PairTable, seed: int) -> dict[str, list[str]]:
    """Return the keys of the pictures with labels by category, sorted.

    Raises:
        BadInput: If a category has too few pictures for two with labels and two without.
    """
    draws = np.random.default_rng(seed)
    chosen = {}
    for category in np.unique(training.categories).tolist():
        keys = training.select(np.flatnonzero(training.categories == category)).image_keys
        count = min(LABELLED, len(keys) - UNLABELLED)
        if count < 2:  # noqa: PLR2004 -- one picture makes no pair
            raise BadInput(
                f"{category} has {len(keys)} training pictures; the miniature needs "
                f"{2 + UNLABELLED} of each category"
            )
        chosen[category] = sorted(keys[index] for index in draws.permutation(len(keys))[:count])
    return chosen


def judged(
    recipe: Recipe, weights: Path, original: Path, hidden: Sequence[str], threshold: float
) -> LabelQuality:
    """Return how good an annotator's labels are on pairs of pictures whose labels it never saw.

    Args:
        recipe: Tells the annotator's network.
        weights: Its checkpoint.
        original: The whole set.
        hidden: Keys of the pictures.
        threshold: A cell's label is used where the confidence is above it.
    """
    network = recipe.network
    annotator = make_network(network, 0)
    load_weights(annotator, str(weights))
    dataset = load_dataset("spair71k", original, split="trn")
    table, known = dataset.table, list(hidden)
    both = np.isin(table.sources, known) & np.isin(table.targets, known)
    dataset = dataset.select(np.flatnonzero(both))
    places, sure = [], []
    for pair in dataset:
        clean = [
            normalised(square(image, whole(image), network.side)).unsqueeze(0)
            for image in (read_image(dataset.path(key)) for key in (pair.source, pair.target))
        ]
        said = annotate(annotator.eval(), *clean)
        at = torch.from_numpy(2 * pair.source_points / np.array(pair.source_size) - 1)
        place, confidence = (
            functional.grid_sample(
                values, at[None, None].float(), mode, padding_mode="border", align_corners=False
            )[0, :, 0].T.double()
            for values, mode in (
                (said.mapping, "bilinear"),
                (said.confidence.unsqueeze(1), "nearest"),
            )
        )
        places.append((place.numpy() + 0.5) / network.cells * np.array(pair.target_size))
        sure.append(confidence.numpy()[:, 0] > threshold)
    answers = Answers(dataset.table, np.concatenate(places))
    return quality(answers, np.concatenate(sure), network.cells)


def quality(answers: Answers, used: NDArray[np.bool_], cells: int) -> LabelQuality:
    """Return the summary of labels at key points.

    Args:
        answers: Where the labels are, in pixels of the second picture.
        used: (P,) whether each is.
        cells: Along a side of the grid.
    """
    sizes = answers.pairs.target_sizes[answers.pairs.pair_of_point]
    apart = (answers.found - answers.pairs.target_points) / sizes * cells
    errors, hits = np.linalg.norm(apart, axis=1), METRIC.hits(answers)
    return LabelQuality(
        points=len(used),
        used=100 * float(used.mean()),
        used_error=_mean(errors[used]),
        other_error=_mean(errors[~used]),
        used_pck=100 * _mean(hits[used]),
        other_pck=100 * _mean(hits[~used]),
    )


def _mean(values: NDArray[Any]) -> float:
    """Return the mean; NaN of nothing."""
    return float(values.mean()) if len(values) else float("nan")


def _list_pairs(home: Path, root: Path, split: str, identities: Sequence[str]) -> None:
    """Write a split's list, and copy its annotations."""
    folder = make_folder(root / "PairAnnotation" / split)
    for identity in identities:
        source = home / "PairAnnotation" / split / f"{identity}.json"
        shutil.copyfile(source, folder / source.name)
    write_text(_listing(root, split), "".join(f"{each}\n" for each in identities))


def _add_pairs(root: Path, split: str, records: Sequence[Mapping[str, Any]]) -> None:
    """Add pairs to a split."""
    for record in records:
        path = root / "PairAnnotation" / split / f"{record['filename']}.json"
        write_text(path, json.dumps(record))
    listed = _listing(root, split).read_text(encoding="utf-8")
    added = "".join(f"{record['filename']}\n" for record in records)
    write_text(_listing(root, split), listed + added)


def _listing(root: Path, split: str) -> Path:
    """Return the file that lists a split's pairs."""
    return make_folder(root / "Layout" / "large") / f"{split}.txt"


def _between(
    home: Path, validation: PairTable, chosen: Mapping[str, Sequence[str]]
) -> Iterator[dict[str, Any]]:
    """Yield pairs of a validation picture and a labelled one, in alternating direction."""
    number = 0
    for category, labelled in chosen.items():
        own = validation.select(np.flatnonzero(validation.categories == category))
        for one in own.image_keys:
            for other in labelled:
                number += 1
                ends = (one, other) if number % 2 else (other, one)
                yield _record(home, category, ends, 900_000 + number)


def _record(home: Path, category: str, ends: tuple[str, str], number: int) -> dict[str, Any]:
    """Return the annotation of a pair, from those of its pictures."""
    source, target = (image_annotation(home, key) for key in ends)
    shared = [each for each in source.points if each in target.points]
    names = [Path(key).name for key in ends]
    record: dict[str, Any] = {
        "filename": f"{number:06}-{names[0]}-{names[1]}:{category}",
        "category": category,
        "kps_ids": shared,
        **dict.fromkeys(("viewpoint_variation", "scale_variation", "truncation", "occlusion"), -1),
    }
    for word, each, name in (("src", source, names[0]), ("trg", target, names[1])):
        record |= {
            f"{word}_imname": f"{name}.jpg",
            f"{word}_imsize": [each.size.width, each.size.height, 3],
            f"{word}_bndbox": list(each.box),
            f"{word}_kps": [list(each.points[point]) for point in shared],
        }
    return record


def _fill_pool(home: Path, pool: Path, keys: set[str]) -> None:
    """Copy pictures into folders named as their categories."""
    pictures = load_dataset("spair71k", home, split="trn").pictures
    for key in sorted(keys):
        place = pool / f"{key}{Path(pictures[key]).suffix}"
        make_folder(place.parent)
        shutil.copyfile(home / pictures[key], place)
