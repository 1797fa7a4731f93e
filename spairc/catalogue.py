"""What `spairc list` shows: every table of names, with what a user needs to choose."""

from collections.abc import Callable

from spairc.datasets import DATASETS
from spairc.protocols import PROTOCOLS
from spairc.spec import GROUPS, SEVERITIES, VERSION
from spairc_models import MODELS


def models() -> str:
    """Return the matchers."""
    return "x"
