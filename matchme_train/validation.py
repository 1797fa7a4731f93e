"""PCK of a network in training, by the very path that evaluates finished ones."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from matchme_train.recipe import Network
from spairc.datasets.dataset import Dataset
from spairc.evaluate import predict
from spairc.protocols import PROTOCOLS
from spairc.types import CLEAN, Features, Points, Query
from spairc_models.adapter import Execution, TorchMatcher
from spairc_models.flow import flow_to_points
from spairc_models.preprocessing import Preprocessing

PROTOCOL = "paper"  # of every validation: PCK@0.1 (box, per image, square)
_BATCH = 8  # pictures in one forward pass on a GPU


@dataclass(frozen=True, eq=False)
class _InTraining:
    """The two halves of a matcher."""

    network: Any
    side: int
    device: torch.device

    def features(self, pictures: Tensor) -> Sequence[Features]:
        """Return what each picture gives to its pairs."""
        encoded = self.network.encode_features(pictures)
        return [tuple(part[i : i + 1] for part in encoded) for i in range(len(pictures))]

    def find(self, queries: Sequence[Query]) -> list[Points]:
        """Return where each query's points are in its target's square."""
        return [self._one(query) for query in queries]

    def _one(self, query: Query) -> Points:
        """Return one query's answer; points are float32 as in the published programs."""
        points = torch.from_numpy(query.points.astype(np.float32)).to(self.device)
        flow = self.network.match_features(query.source, query.target)
        found = flow_to_points(flow, points.unsqueeze(0), self.side)
        return np.asarray(found[0].double().cpu().numpy())


def validation_pck(network: nn.Module, recipe: Network, dataset: Dataset) -> float:
    """Return PCK@0.1 of a network on a dataset's pairs, in percent, as the paper counts it.

    The network is left in evaluation mode.

    Args:
        network: On its device.
        recipe: Its input side.
        dataset: The validation pairs.

    Raises:
        BadInput: If the network's answers are not finite: the pair is named.
    """
    device = next(network.parameters()).device
    half = _InTraining(network.eval(), recipe.side, device)
    matcher = TorchMatcher(
        name="in-training",
        preprocessing=Preprocessing(recipe.side),
        how=Execution(device, batch_size=1 if device.type == "cpu" else _BATCH),
        features=half.features,
        find=half.find,
        details={},
    )
    with tempfile.TemporaryDirectory(prefix="spairc-validation-") as folder:
        run = predict(matcher, dataset, [CLEAN], out=Path(folder) / "run")
        return run.scores(PROTOCOLS[PROTOCOL].metric())[CLEAN]
