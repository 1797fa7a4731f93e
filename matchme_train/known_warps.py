"""Random warps of PWarpC's program (Truong et al., CVPR 2022), and labelled pairs with one.

A warp tells where places of the warped picture come from: by a homography, a thin-plate spline,
or a spline and then an affine map (`warps`), after left and right have changed places or not.
Places run from -1 to 1 between the picture's outer edges.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from matchme_train.augment import photometric_noise
from matchme_train.consistency_settings import Families, WarpConsistency
from matchme_train.data import Item, draw_window, in_square, normalised, square
from matchme_train.sections import Amplitudes, Network
from matchme_train.targets import target_flow
from matchme_train.warps import draw_warp, grid, origins
from spairc.datasets.dataset import Dataset
from spairc.images import read_image

KnownWarp = Callable[[Tensor], Tensor]  # (N, 2) places to where they come from

_CORNERS = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 2)


def draw_known_warp(families: Families, draws: np.random.Generator) -> KnownWarp:
    """Return a random warp.

    Args:
        families: Which there are.
        draws: Where the numbers come from.
    """
    kind = families.kinds[int(draws.integers(len(families.kinds)))]
    warp = _MAKERS[kind](families, draws)
    return partial(_mirrored, warp) if draws.random() < families.flip else warp


def known_places(warp: KnownWarp, side: int) -> Tensor:
    """Return (2, side, side): where the warped picture's cells come from, column and row."""
    came_from = (warp(grid(side).flatten(0, 1)) + 1) * (side / 2) - 0.5
    return torch.unflatten(came_from.T, 1, (side, side)).float()


def warped_by(picture: Tensor, warp: KnownWarp) -> Tensor:
    """Return a (C, side, side) picture warped, bilinear; its edges go on outside (the program)."""
    side = picture.shape[-1]
    came_from = torch.unflatten(warp(grid(side).flatten(0, 1).to(picture)), 0, (side, side))
    return functional.grid_sample(
        picture.unsqueeze(0), came_from.unsqueeze(0), padding_mode="border", align_corners=False
    )[0]


@dataclass(frozen=True, eq=False)
class Triplets:
    """Labelled pairs, and the first picture once more, warped; every picture has its own noise."""

    dataset: Dataset
    network: Network
    settings: WarpConsistency
    key: tuple[int, ...]  # of the random numbers: the run's seed and the stage

    def __len__(self) -> int:
        return len(self.dataset)

    def item(self, epoch: int, index: int) -> Item:
        """Return a pair as it is seen in an epoch: `first` is `clean_first` warped."""
        draws = np.random.default_rng((*self.key, epoch, index))
        pair, network, settings = self.dataset[index], self.network, self.settings
        warp = draw_known_warp(settings.families, draws)
        squares, points = [], []
        for key, given, box, chances in (
            (
                pair.source,
                pair.source_points,
                pair.source_box,
                (settings.chance, settings.warped_chance),
            ),
            (pair.target, pair.target_points, pair.target_box, (settings.chance,)),
        ):
            image = read_image(self.dataset.path(key))
            window = draw_window(image, box, settings.crop, draws)
            noisy = [
                photometric_noise(image, settings.photometric, chance, draws) for chance in chances
            ]
            squares += [square(each, window, network.side) for each in noisy]
            points.append(in_square(given, window, network.side))
        first, again, second = squares
        return Item(
            id=pair.id,
            first=normalised(warped_by(again, warp)),
            second=normalised(second),
            target=target_flow(
                *points, cells=network.cells, side=network.side, field=network.field
            ),
            clean_first=normalised(first),
            known=known_places(warp, network.cells),
        )


def _homography(families: Families, draws: np.random.Generator) -> KnownWarp:
    """Return the homography that moves every corner at random."""
    moved = _CORNERS + torch.from_numpy(draws.uniform(-families.corner, families.corner, (4, 2)))
    return partial(_projected, _matrix(moved))


def _spline(families: Families, draws: np.random.Generator) -> KnownWarp:
    """Return a spline without an affine map."""
    bend = families.amplitudes.bend
    return _of_numbers(Amplitudes(rotation=0, axis=0, scale=0, shift=0, bend=bend), draws)


def _affine_spline(families: Families, draws: np.random.Generator) -> KnownWarp:
    """Return a spline and then an affine map."""
    return _of_numbers(families.amplitudes, draws)


_MAKERS: Mapping[str, Callable[[Families, np.random.Generator], KnownWarp]] = {
    "homography": _homography,
    "spline": _spline,
    "affine-spline": _affine_spline,
}


def _of_numbers(amplitudes: Amplitudes, draws: np.random.Generator) -> KnownWarp:
    """Return a warp of `warps`."""
    numbers = torch.from_numpy(draw_warp(amplitudes, draws)).unsqueeze(0)
    return lambda places: origins(numbers, places, places.dtype)[0]


def _mirrored(warp: KnownWarp, places: Tensor) -> Tensor:
    """Return where places come from, left and right having changed places first."""
    return warp(places * torch.tensor([-1.0, 1.0], dtype=places.dtype))


def _matrix(moved: Tensor) -> Tensor:
    """Return the (3, 3) homography from the picture's corners to (4, 2) places."""
    rows, wanted = [], []
    for (x, y), (u, v) in zip(_CORNERS.tolist(), moved.tolist(), strict=True):
        rows += [[x, y, 1, 0, 0, 0, -x * u, -y * u], [0, 0, 0, x, y, 1, -x * v, -y * v]]
        wanted += [u, v]
    solved = torch.linalg.solve(
        torch.tensor(rows, dtype=torch.float64), torch.tensor(wanted, dtype=torch.float64)
    )
    return torch.cat([solved, solved.new_ones(1)]).view(3, 3)


def _projected(matrix: Tensor, places: Tensor) -> Tensor:
    """Return (N, 2) places under a homography."""
    lifted = functional.pad(places, (0, 1), value=1.0) @ matrix.T.to(places)
    return lifted[:, :2] / lifted[:, 2:]
