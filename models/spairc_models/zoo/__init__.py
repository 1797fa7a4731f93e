"""The zoo: every matcher by name, as data; the order is the order of tables.

To add one: an entry in the table of its family. What it points at is imported when it is loaded.
"""

from spairc_models.zoo.classical import CLASSICAL
from spairc_models.zoo.collections import COLLECTIONS
from spairc_models.zoo.diffusion import DIFFUSION
from spairc_models.zoo.features import FEATURES
from spairc_models.zoo.fused import FUSED
from spairc_models.zoo.model import Model
from spairc_models.zoo.older import OLDER
from spairc_models.zoo.trained import TRAINED
from spairc_models.zoo.unpublished import UNPUBLISHED
from spairc_models.zoo.voting import VOTING

__all__ = ["COLLECTIONS", "MODELS", "Model"]

MODELS: dict[str, Model] = {
    **CLASSICAL,
    **FEATURES,
    **VOTING,
    **OLDER,
    **TRAINED,
    **DIFFUSION,
    **FUSED,
    **UNPUBLISHED,
}
