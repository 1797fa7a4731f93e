"""CNNGeoU: the way to the other picture and back is to end where it began.

Laskar and Kannala ("Semi-supervised semantic matching", ECCV workshops 2018) ask that of pairs
without labels, beside the supervised loss on labelled ones. There is no program; what is open
stands in `consistency_settings.Cycle`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from matchme_train.annotate import read_flow
from matchme_train.augment import photometric_noise
from matchme_train.consistency_settings import Cycle
from matchme_train.data import Batch, Item, UnlabelledPair, normalised, square, whole
from matchme_train.losses import end_point_error, mean_over
from matchme_train.methods import Losses
from matchme_train.sections import Network, Noise
from matchme_train.targets import labelled, places
from spairc.images import read_image


@dataclass(frozen=True, eq=False)
class NoisyPairs:
    """Pairs without labels as they are, with photometric noise."""

    pairs: Sequence[UnlabelledPair]
    network: Network
    noise: Noise  # its crop is not used: there is no box
    key: tuple[int, ...]  # of the random numbers: the run's seed and the stage

    def __len__(self) -> int:
        return len(self.pairs)

    def item(self, epoch: int, index: int) -> Item:
        """Return a pair as it is seen in an epoch."""
        draws = np.random.default_rng((*self.key, epoch, index))
        pair = self.pairs[index]
        first, second = (self._seen(path, draws) for path in (pair.first, pair.second))
        return Item(id=pair.id, first=first, second=second)

    def _seen(self, path: Path, draws: np.random.Generator) -> Tensor:
        """Return a picture with noise."""
        image = read_image(path)
        noisy = photometric_noise(image, self.noise.photometric, self.noise.chance, draws)
        return normalised(square(noisy, whole(image), self.network.side))


def read_at(flow: Tensor, where: Tensor) -> Tensor:
    """Return a flow read bilinearly at places; beyond the outer cells' centres at those.

    Args:
        flow: (B, 2, h, h) in cells.
        where: (B, 2, h, h) column and row, in cells; the gradient goes through both.
    """
    last = flow.shape[-1] - 1
    reading = (where * (2 / last) - 1).permute(0, 2, 3, 1)
    return functional.grid_sample(
        flow, reading, mode="bilinear", padding_mode="border", align_corners=True
    )


def way_back(forth: Tensor, back: Tensor) -> Tensor:
    """Return (B, 2, h, h): the flow back, at the places that the flow forth leads to.

    Args:
        forth: (B, 2, h, h) in cells, from the first picture into the second.
        back: The other way.
    """
    return read_at(back, places(forth))


def consistent(forth: Tensor, returned: Tensor, *, relative: float, absolute: float) -> Tensor:
    """Return (B, h, h): whether the two ways nearly undo each other, a constant.

    Args:
        forth: (B, 2, h, h) in cells.
        returned: From `way_back`.
        relative: Share of the sum of both squared lengths that may be missed.
        absolute: Squared cells beyond it.
    """
    missed, *lengths = (
        each.detach().square().sum(dim=1) for each in (forth + returned, forth, returned)
    )
    return missed <= relative * (lengths[0] + lengths[1]) + absolute


def risen(epoch: int, epochs: int) -> float:
    """Return the share of a weight that an epoch has, in equal steps up to 1.

    Args:
        epoch: From 0.
        epochs: How many there are until the whole weight.
    """
    return min(1.0, (epoch + 1) / epochs)


@dataclass(frozen=True)
class ByCycles:
    """End-point error on labelled pairs, and the cycle's on pairs without labels."""

    settings: Cycle

    def losses(
        self, networks: Sequence[nn.Module], pairs: Batch, unlabelled: Batch | None, epoch: int
    ) -> Losses:
        """Return the losses of a step."""
        network: Any
        (network,) = networks
        if unlabelled is None or pairs.target is None:
            raise TypeError("CNNGeoU needs labelled pairs and pairs without labels")
        target = pairs.whole(pairs.target)
        flow = network(pairs.first, pairs.second)
        error = end_point_error(pairs.whole(flow), target, labelled(target))
        forth, back = (unlabelled.whole(each) for each in _both_ways(network, unlabelled))
        returned = way_back(forth, back)
        settings = self.settings
        mask = consistent(forth, returned, relative=settings.relative, absolute=settings.absolute)
        missed = mean_over(torch.linalg.vector_norm(forth + returned, dim=1), mask)
        weight = settings.weight * risen(epoch, settings.warm_up)
        return Losses(error + weight * missed, error, missed.detach(), mask.float().mean())


def _both_ways(network: Any, pairs: Batch) -> tuple[Tensor, Tensor]:
    """Return the flow of each picture of pairs into the other; either is encoded once."""
    first, second = (network.encode_features(each) for each in (pairs.first, pairs.second))
    forth, back = (
        read_flow(network, network.refined_correlation(*both))
        for both in ((first, second), (second, first))
    )
    return forth, back
