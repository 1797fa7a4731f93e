"""PCK of a network in training, by the very path that evaluates finished ones."""

import tempfile
from pathlib import Path

from torch import nn

from matchme_train.sections import Network
from spairc.datasets.dataset import Dataset
from spairc.evaluate import predict
from spairc.protocols import PROTOCOLS
from spairc.types import CLEAN
from spairc_models.adapter import execution
from spairc_models.network_matchers import matcher_of

PROTOCOL = "paper"  # PCK@0.1 (box, per image, square)


def validation_pck(
    network: nn.Module, recipe: Network, dataset: Dataset, protocol: str = PROTOCOL
) -> float:
    """Return PCK@0.1 of a network on a dataset's pairs, in percent.

    The network is left in evaluation mode.

    Args:
        network: On its device.
        recipe: Its input side.
        dataset: The validation pairs.
        protocol: How they are asked and counted.

    Raises:
        BadInput: If the network's answers are not finite: the pair is named.
    """
    how = execution(str(next(network.parameters()).device))
    matcher = matcher_of(
        "in-training", network.eval(), how, side=recipe.side, weights="in training"
    )
    with tempfile.TemporaryDirectory(prefix="spairc-validation-") as folder:
        direction = PROTOCOLS[protocol].direction
        run = predict(matcher, dataset, [CLEAN], out=Path(folder) / "run", direction=direction)
        return run.scores(PROTOCOLS[protocol].metric())[CLEAN]
