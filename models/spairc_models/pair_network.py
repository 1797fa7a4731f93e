"""Networks of other people's repositories that match by themselves, such as MARCO.

They take both pictures and the points of the first, and answer with points of the second:
`network(samples, points, size)`, samples (1, 2, 3, side, side) with the source first, points
(1, N, 2) in pixels of the input, size (side, side); the answer is (1, N, 2) like the points. What
is kept of a picture is the network's input, so a picture passes the network once for each pair.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spairc.lookup import lookup
from spairc.types import BadInput, Points, Query
from spairc_models.adapter import Execution, TorchMatcher, details_of, execution, frozen
from spairc_models.checkpoint import load_strictly, read_checkpoint, state_hash
from spairc_models.module_features import NORMALISATIONS
from spairc_models.preprocessing import Mode, Preprocessing

_SIDE = 770  # MARCO's for SPair-71k
_MARGIN = 1e-4  # pixels that a point keeps off the outermost centres, as in MARCO's program


def pair_matcher(  # noqa: PLR0913 -- each is a setting of its own; all but two have a default
    network: nn.Module,
    name: str,
    *,
    checkpoint: str | Path | None = None,
    side: int = _SIDE,
    resize: Mode = "squash",
    interpolation: str = "bilinear",
    normalisation: str = "imagenet",
    device: str | None = None,
    precision: str = "float32",
    batch_size: int | None = None,
) -> TorchMatcher:
    """Return the matcher that a network of pairs is.

    Args:
        network: Takes (samples, points, size).
        name: What tables call it.
        checkpoint: Its weights: a file, a folder, or hf://org/repo/file@revision.
        side: Pixels of the square input.
        resize: "squash" or "pad".
        interpolation: Of the resize: "bilinear", "bicubic" or "lanczos".
        normalisation: A key of `NORMALISATIONS`.
        device: "cpu", "cuda", "cuda:1"; None takes CUDA where there is one.
        precision: "float32" or "bfloat16", of the network.
        batch_size: Pictures that are prepared at once.

    Raises:
        BadInput: If any of them is not to be had.
    """
    how = execution(device, precision, batch_size)
    mean, std = lookup(NORMALISATIONS, normalisation, "normalisation")
    preprocessing = Preprocessing(side, resize, mean, std, interpolation)
    if checkpoint is None:
        weights = state_hash(network)
    else:
        found = read_checkpoint(checkpoint)
        load_strictly(network, found, name)
        weights = found.sha256
    search = _Search(frozen(network, how), name, side, how)
    return TorchMatcher(
        name=name,
        preprocessing=preprocessing,
        how=how,
        features=list,
        find=search,
        details={**details_of(how, preprocessing, weights), "normalisation": normalisation},
    )


class _Search:
    """A network, asked pair by pair."""

    def __init__(self, network: nn.Module, name: str, side: int, how: Execution) -> None:
        self._network = network
        self._name = name
        self._side = side
        self._how = how

    def __call__(self, queries: Sequence[Query]) -> list[Points]:
        """Return one (N, 2) per query, in the targets' frames."""
        return [self._answer(query) for query in queries]

    def _answer(self, query: Query) -> Points:
        """Return the answer of one query.

        Raises:
            BadInput: If the network gives anything but points.
        """
        inside = query.points.clip(_MARGIN, self._side - 1 - _MARGIN)
        points = torch.from_numpy(inside).float().to(self._how.device)[None]
        samples = torch.stack([query.source, query.target])[None]
        found: Any = self._network(samples, points, (self._side, self._side))
        if not isinstance(found, Tensor) or found.shape != points.shape:
            shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise BadInput(
                f"model {self._name!r} answers {tuple(points.shape)} points with {shape}; a "
                f"network of pairs gives as many points"
            )
        return np.asarray(found[0].double().cpu().numpy(), dtype=np.float64)
