"""Pairs as networks train on them: noise, crop, square, target flow; labelled and unlabelled.

Every item is drawn from its own numbers: the run's seed, the stage, the epoch and the item's
place in the list. So it is the same in whatever worker process it is made, and a run that was
stopped within an epoch goes on with the very pairs that it would have seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from matchme_train.augment import erased, photometric_noise
from matchme_train.recipe import SemiMatch
from matchme_train.sections import Amplitudes, Network
from matchme_train.targets import target_flow
from matchme_train.team import ALONE, Team
from matchme_train.warps import (
    arrivals,
    draw_warp,
    published_steps,
    resampled,
    warped_picture,
)
from spairc.datasets.dataset import Dataset
from spairc.images import read_image
from spairc.types import Box, Image, Points, Size
from spairc_models.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing

_MEAN, _STD = (torch.tensor(each).view(3, 1, 1) for each in (IMAGENET_MEAN, IMAGENET_STD))


@dataclass(frozen=True, eq=False, kw_only=True)
class Item:
    """One pair; in a batch every tensor has one more axis, the first."""

    id: str
    first: Tensor  # (3, side, side) normalised; the picture whose points are given
    second: Tensor
    target: Tensor | None = None  # (2, cells, cells) flow; absent where there are no labels
    clean_first: Tensor | None = None  # as an annotator sees it, or the weak view
    clean_second: Tensor | None = None
    warp: Tensor | None = None  # (24,) what made `first`; it stays on the CPU
    first_box: Tensor | None = None  # (4,) of the object in the clean view, in cells
    second_box: Tensor | None = None
    known: Tensor | None = None  # (2, cells, cells) where `first` comes from, in `clean_first`


@dataclass(frozen=True, eq=False)
class Batch:
    """Several items: one process's share of them, where several train together."""

    ids: tuple[str, ...]
    first: Tensor
    second: Tensor
    target: Tensor | None
    clean_first: Tensor | None
    clean_second: Tensor | None
    warp: Tensor | None
    first_box: Tensor | None
    second_box: Tensor | None
    team: Team = ALONE
    count: int = 0  # items of all processes together, where there are several
    known: Tensor | None = None

    def whole(self, part: Tensor) -> Tensor:
        """Return what all processes have of (B, ...), this one's part being given."""
        return self.team.whole(part, self.count)

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device, the warps excepted."""
        moved: dict[str, Any] = {
            each.name: value.to(device, non_blocking=True)
            if isinstance(value, Tensor) and each.name != "warp"
            else value
            for each in fields(self)
            for value in (getattr(self, each.name),)
        }
        return replace(self, **moved)


def collated(items: Sequence[Item]) -> Batch:
    """Return items as one batch; what the first of them lacks, all lack."""
    columns: dict[str, Tensor | None] = {}
    for each in fields(Item)[1:]:
        values = [getattr(item, each.name) for item in items]
        columns[each.name] = None if values[0] is None else torch.stack(values)
    ids = tuple(item.id for item in items)
    return Batch(ids, **columns)  # type: ignore[arg-type]  # first and second are always there


class Items(Protocol):
    """A list of pairs, each of which is another one in each epoch."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def item(self, epoch: int, index: int) -> Item:
        """Return one of them."""
        ...


@dataclass(frozen=True)
class Chances:
    """What may happen to a picture before it becomes a square."""

    photometric: str  # list of operations
    chance: float  # of each
    crop: float = 0.0  # chance of a random crop around the object's box


@dataclass(frozen=True)
class Warping:
    """What may happen to the first picture's square."""

    amplitudes: Amplitudes
    strength: float


@dataclass(frozen=True, eq=False)
class Labelled:
    """Labelled pairs with noise, their key points moved along."""

    dataset: Dataset
    network: Network
    chances: Chances
    key: tuple[int, ...]  # of the random numbers: the run's seed and the stage
    warping: Warping | None = None  # of the first picture, key points included

    def __len__(self) -> int:
        return len(self.dataset)

    def item(self, epoch: int, index: int) -> Item:
        """Return a pair as it is seen in an epoch."""
        draws = np.random.default_rng((*self.key, epoch, index))
        pair, network = self.dataset[index], self.network
        squares, points = [], []
        for key, given, box in (
            (pair.source, pair.source_points, pair.source_box),
            (pair.target, pair.target_points, pair.target_box),
        ):
            image = read_image(self.dataset.path(key))
            window = draw_window(image, box, self.chances.crop, draws)
            noisy = photometric_noise(image, self.chances.photometric, self.chances.chance, draws)
            squares.append(square(noisy, window, network.side))
            points.append(in_square(given, window, network.side))
        first = squares[0]
        if self.warping is not None:
            first, points = _warped(first, points, self.warping, draws)
        return Item(
            id=pair.id,
            first=normalised(first),
            second=normalised(squares[1]),
            target=target_flow(
                *points, cells=network.cells, side=network.side, field=network.field
            ),
        )


@dataclass(frozen=True)
class UnlabelledPair:
    """Two pictures that show a thing of one category; where its parts are is not known."""

    id: str
    first: Path
    second: Path


@dataclass(frozen=True, eq=False)
class WithoutLabels:
    """Pairs without labels: clean for the annotator, with noise for its student."""

    pairs: Sequence[UnlabelledPair]
    network: Network
    chances: Chances  # no crop: there is no box
    key: tuple[int, ...]
    warping: Warping

    def __len__(self) -> int:
        return len(self.pairs)

    def item(self, epoch: int, index: int) -> Item:
        """Return a pair as it is seen in an epoch."""
        draws = np.random.default_rng((*self.key, epoch, index))
        pair, side = self.pairs[index], self.network.side
        images = [read_image(path) for path in (pair.first, pair.second)]
        clean = [square(image, whole(image), side) for image in images]
        noise = self.chances
        noisy = [
            square(photometric_noise(image, noise.photometric, noise.chance, draws), each, side)
            for image, each in ((image, whole(image)) for image in images)
        ]
        warp = torch.from_numpy(draw_warp(self.warping.amplitudes, draws, self.warping.strength))
        return Item(
            id=pair.id,
            first=normalised(warped_picture(noisy[0], warp)),
            second=normalised(noisy[1]),
            clean_first=normalised(clean[0]),
            clean_second=normalised(clean[1]),
            warp=warp,
        )


@dataclass(frozen=True, eq=False)
class TwoViews:
    """Labelled pairs in SemiMatch's weak view, which has the labels, and its strong one."""

    dataset: Dataset
    network: Network
    settings: SemiMatch
    key: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.dataset)

    def item(self, epoch: int, index: int) -> Item:
        """Return a pair as it is seen in an epoch; the weak view is the clean one."""
        draws = np.random.default_rng((*self.key, epoch, index))
        pair, network = self.dataset[index], self.network
        weak, strong, points, boxes = [], [], [], []
        for key, given, box in (
            (pair.source, pair.source_points, pair.source_box),
            (pair.target, pair.target_points, pair.target_box),
        ):
            image = read_image(self.dataset.path(key))
            window = draw_window(image, box, self.settings.crop, draws)
            soft = photometric_noise(image, "cats", self.settings.weak_chance, draws)
            hard = self._strong(image, given, box, draws)
            weak.append(square(soft, window, network.side))
            strong.append(square(hard, window, network.side))
            points.append(in_square(given, window, network.side))
            corners = in_square(np.array(box).reshape(2, 2), window, network.side)
            boxes.append(corners.flatten() / (network.side / network.cells))
        warp = torch.from_numpy(draw_warp(self.settings.warp, draws))
        steps = published_steps(warp.unsqueeze(0), network.side)
        warped = resampled(strong[0].unsqueeze(0), steps, "bilinear")[0]
        return Item(
            id=pair.id,
            first=normalised(warped),
            second=normalised(strong[1]),
            target=target_flow(
                *points, cells=network.cells, side=network.side, field=network.field
            ),
            clean_first=normalised(weak[0]),
            clean_second=normalised(weak[1]),
            warp=warp,
            first_box=boxes[0],
            second_box=boxes[1],
        )

    def _strong(self, image: Image, points: Points, box: Box, draws: np.random.Generator) -> Image:
        """Return a picture with strong noise, and black boxes on some of its key points."""
        noisy = photometric_noise(image, "semimatch-strong", self.settings.strong_chance, draws)
        longer = max(box.right - box.left, box.bottom - box.top)
        boxes = []
        for x, y in points:
            if draws.random() < self.settings.erase:
                low, high = self.settings.erase_sizes
                half = draws.uniform(low, high) * longer / 2
                edges = (x - half, y - half, x + half + 1, y + half + 1)
                boxes.append(tuple(int(edge) for edge in edges))
        return erased(noisy, boxes)  # type: ignore[arg-type]  # four numbers each


def whole(image: Image) -> Box:
    """Return the box of a whole picture."""
    height, width = image.shape[:2]
    return Box(0, 0, width, height)


def draw_window(image: Image, box: Box, chance: float, draws: np.random.Generator) -> Box:
    """Return which part of a picture is used: all of it, or one that holds the object's box.

    As CATs' program: each edge lies, in whole pixels, anywhere between the picture's and the
    box's.
    """
    if draws.random() >= chance:
        return whole(image)
    height, width = image.shape[:2]
    left, top = (int(draws.integers(0, max(0, int(edge)) + 1)) for edge in (box.left, box.top))
    right, bottom = (
        int(draws.integers(min(size, max(int(np.ceil(edge)), low + 1)), size + 1))
        for edge, low, size in ((box.right, left, width), (box.bottom, top, height))
    )
    return Box(left, top, right, bottom)


def square(image: Image, window: Box, side: int) -> Tensor:
    """Return a part of a picture squashed to (3, side, side), float32 from 0 to 1."""
    left, top, right, bottom = (int(edge) for edge in window)
    part = np.ascontiguousarray(image[top:bottom, left:right])
    pixels = Preprocessing(side).square(part)
    return torch.from_numpy(pixels.transpose(2, 0, 1).astype(np.float32) / np.float32(255))


def in_square(points: Points, window: Box, side: int) -> Tensor:
    """Return (N, 2) float32 points in the square that `square` makes of a part."""
    size = Size(int(window.right - window.left), int(window.bottom - window.top))
    moved = (points - [window.left, window.top]) * side / np.array(size)
    return torch.from_numpy(moved.astype(np.float32))


def normalised(picture: Tensor) -> Tensor:
    """Return a picture from 0 to 1 as networks take it: ImageNet's mean and deviation."""
    return (picture - _MEAN) / _STD


def _warped(
    picture: Tensor, points: Sequence[Tensor], warping: Warping, draws: np.random.Generator
) -> tuple[Tensor, list[Tensor]]:
    """Return the first picture warped, and both pictures' points that are still in it."""
    warp = torch.from_numpy(draw_warp(warping.amplitudes, draws, warping.strength))
    side = picture.shape[-1]
    # Pixel numbers count from the centre of the first pixel, places from the picture's edge.
    moved, inside = arrivals(warp, (2 * points[0].double() + 1) / side - 1)
    given = ((moved + 1) * side - 1) / 2
    return warped_picture(picture, warp), [given[inside].float(), points[1][inside]]
