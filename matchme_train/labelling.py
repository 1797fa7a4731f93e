"""COCR's pseudo labels: a teacher chooses pictures, and matches cells of pairs of them.

What comes of it is a list of pairs with points and boxes, as the labelled ones are, in the run's
folder: `pseudo_pairs.parquet`. It is a function of the recipe, the pictures and the teacher.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from matchme_train.annotate import read_flow
from matchme_train.cocr import coarser, consistency, one_to_one
from matchme_train.cocr_settings import COCR
from matchme_train.data import UnlabelledPair, normalised, square, whole
from matchme_train.saliency import Saliency, foreground
from matchme_train.targets import places
from matchme_train.unlabelled import Pool, draw_pairs
from spairc.datasets.dataset import Dataset
from spairc.images import read_image
from spairc.pairs import PairTable, table_of
from spairc.types import BadInput, Box, Pair, Points, Size

PSEUDO_PAIRS = "pseudo_pairs.parquet"
_TOGETHER = 4  # pairs in one forward pass: SCorrSAN's scores take 67 MB each and way


@dataclass(frozen=True, eq=False)
class Teacher:
    """What labels pairs."""

    network: nn.Module  # in evaluation mode, on its device
    saliency: Saliency
    side: int  # pixels of the input
    settings: COCR

    def foreground(self, paths: Sequence[Path], pictures: Tensor, side: int) -> Tensor:
        """Return (B, side, side): which cells of these pictures may be matched."""
        return foreground(self.saliency(paths, pictures), side, self.settings.threshold)


def keyed_pictures(pool: Pool, labelled: Dataset) -> dict[str, Path]:
    """Return the pictures that pairs can be made of, by the image keys of the pseudo labels."""
    own = {f"labelled/{key}": labelled.path(key) for key in labelled.table.image_keys}
    return own | {
        f"unlabelled/{name}/{path.name}": path
        for name, paths in pool.pictures.items()
        for path in paths
    }


def labels_by(teacher: Teacher, pool: Pool, labelled: Dataset, key: tuple[int, ...]) -> PairTable:
    """Return pairs of the most consistent pictures with the matches that the teacher sees.

    Args:
        teacher: Chooses and labels.
        pool: Pictures without labels.
        labelled: Whose pictures may be in pairs too, `unlabelled.with_labelled`.
        key: Of the random numbers.

    Raises:
        BadInput: If the teacher's scores are not finite.
    """
    settings = teacher.settings
    kept = most_consistent(teacher, pool, np.random.default_rng((*key, 1)))
    draws = np.random.default_rng((*key, 2))
    pairs = draw_pairs(kept, labelled, settings.unlabelled, settings.pairs, draws)
    keys = {path: key for key, path in keyed_pictures(pool, labelled).items()}
    return label_pairs(teacher, pairs, keys)


def most_consistent(teacher: Teacher, pool: Pool, draws: np.random.Generator) -> Pool:
    """Return the pool with each category's most consistent pictures only, two at least.

    A picture's score is the mean of those of the pairs that it was in, as first and as second.

    Args:
        teacher: Judges.
        pool: All pictures.
        draws: Who is paired with whom.
    """
    settings, kept = teacher.settings, {}
    for name, paths in pool.pictures.items():
        pairs = list(chain.from_iterable(_ring(paths, draws) for _ in range(settings.rounds)))
        sums = dict.fromkeys(paths, 0.0)
        scored = zip(pairs, _consistencies(teacher, pairs), strict=True)
        for pair, score in scored:  # every picture is in as many pairs as any other
            sums[pair.first] += score
            sums[pair.second] += score
        count = max(2, round(settings.share * len(paths)))
        best = sorted(paths, key=lambda path: (-sums[path], path))[:count]
        kept[name] = tuple(sorted(best))
    return replace(pool, pictures=kept)


def label_pairs(
    teacher: Teacher, pairs: Sequence[UnlabelledPair], keys: Mapping[Path, str]
) -> PairTable:
    """Return the pairs with the teacher's one-to-one matches as their points.

    A point is the centre of a cell of the grid, in pixels of the original picture; a box is the
    extent of the cells that are no background.

    Args:
        teacher: Labels.
        pairs: Whose ids end with the category, after a colon.
        keys: The image keys.

    Raises:
        BadInput: If the teacher's scores are not finite: the pair is named.
    """
    grid, labelled = teacher.settings.grid, []
    for some, first, second, sizes in _batches(teacher, pairs):
        scores = coarser(_refined_both_ways(teacher.network, first, second)[0], grid)
        masks = (
            teacher.foreground([pair.first for pair in some], first, grid),
            teacher.foreground([pair.second for pair in some], second, grid),
        )
        given = (scores.float().cpu().numpy(), *(mask.cpu().numpy() for mask in masks))
        for pair, size, *parts in zip(some, sizes, *given, strict=True):
            ends = _labelled(pair.id, size, *parts, most=teacher.settings.points)
            category = pair.id.rpartition(":")[2]
            labelled.append(
                Pair(pair.id, category, keys[pair.first], keys[pair.second], *ends, *size)
            )
    return table_of(labelled)


def as_dataset(table: PairTable, pictures: Mapping[str, Path]) -> Dataset:
    """Return pseudo-labelled pairs as a dataset.

    Args:
        table: The pairs.
        pictures: Image key -> file.
    """
    names = {key: str(pictures[key].absolute()) for key in table.image_keys}
    return Dataset("pseudo", Path(), "trn", "", table, names, ())


def _ring(paths: Sequence[Path], draws: np.random.Generator) -> list[UnlabelledPair]:
    """Return pairs in which every picture is once the first and once the second."""
    order = [paths[index] for index in draws.permutation(len(paths))]
    return [
        UnlabelledPair(f"{one.stem}-{two.stem}", one, two)
        for one, two in zip(order, [*order[1:], order[0]], strict=True)
    ]


def _consistencies(teacher: Teacher, pairs: Sequence[UnlabelledPair]) -> Iterator[float]:
    """Yield each pair's share of cells that come back."""
    for some, first, second, _ in _batches(teacher, pairs):
        there, back = (
            places(read_flow(teacher.network, scores))
            for scores in _refined_both_ways(teacher.network, first, second)
        )
        mask = teacher.foreground([pair.first for pair in some], first, there.shape[-1])
        yield from consistency(there, back, mask, teacher.settings.tolerance).tolist()


def _refined_both_ways(network: Any, first: Tensor, second: Tensor) -> list[Tensor]:
    """Return the refined correlation from the first pictures to the second, and back."""
    with torch.no_grad():
        one, two = network.encode_features(first), network.encode_features(second)
        ways = ((one, two), (two, one))
        return [network.refined_correlation(*way) for way in ways]


_Batch = tuple[Sequence[UnlabelledPair], Tensor, Tensor, list[tuple[Size, Size]]]


def _batches(teacher: Teacher, pairs: Sequence[UnlabelledPair]) -> Iterator[_Batch]:
    """Yield pairs, their clean pictures as the network takes them, and the original sizes."""
    device = next(teacher.network.parameters()).device
    with ThreadPoolExecutor() as workers:  # Pillow decodes without the lock
        for start in range(0, len(pairs), _TOGETHER):
            some = pairs[start : start + _TOGETHER]
            paths = [pair.first for pair in some] + [pair.second for pair in some]
            read = list(workers.map(lambda path: _clean(path, teacher.side), paths))
            first, second = torch.stack([picture for picture, _ in read]).to(device).chunk(2)
            sizes = [size for _, size in read]
            yield some, first, second, list(zip(sizes, sizes[len(some) :], strict=False))


def _clean(path: Path, side: int) -> tuple[Tensor, Size]:
    """Return a picture as a network takes it, and its size."""
    image = read_image(path)
    height, width = image.shape[:2]
    return normalised(square(image, whole(image), side)), Size(width, height)


def _labelled(
    name: str,
    sizes: tuple[Size, Size],
    scores: NDArray[np.float32],
    first: NDArray[np.bool_],
    second: NDArray[np.bool_],
    *,
    most: int,
) -> tuple[Points, Points, Box, Box]:
    """Return a pair's points and boxes in pixels of the original pictures."""
    if not np.isfinite(scores).all():
        raise BadInput(
            f"the teacher's scores of {name} are not finite; give another --from-checkpoint"
        )
    matches = one_to_one(scores, first.ravel(), second.ravel(), most)
    points = [_centres(matches[:, end], len(first), sizes[end]) for end in range(2)]
    boxes = [_extent(mask, size) for mask, size in zip((first, second), sizes, strict=True)]
    return points[0], points[1], boxes[0], boxes[1]


def _centres(cells: NDArray[np.int64], grid: int, size: Size) -> Points:
    """Return (K, 2) the centres of cells of a picture."""
    places = np.stack([cells % grid, cells // grid], axis=1) + 0.5
    return np.asarray(places * np.array(size) / grid, dtype=np.float64)


def _extent(mask: NDArray[np.bool_], size: Size) -> Box:
    """Return the box around the cells of a mask."""
    rows, columns = np.nonzero(mask)
    step_x, step_y = size.width / mask.shape[1], size.height / mask.shape[0]
    return Box(
        float(columns.min() * step_x),
        float(rows.min() * step_y),
        float((columns.max() + 1) * step_x),
        float((rows.max() + 1) * step_y),
    )
