"""The robustness benchmark of semantic correspondence: SPair-C, any matcher, PCK and mCE.

Names are imported when they are first used, so that `import spairc` and the command line start
without torch, OpenCV or pandas.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spairc.corrupt_folder import corrupt_batch as corrupt_batch
    from spairc.corruptions import CORRUPTIONS as CORRUPTIONS
    from spairc.corruptions import corrupt as corrupt
    from spairc.datasets import DATASETS as DATASETS
    from spairc.datasets import load_dataset as load_dataset
    from spairc.draws import LegacyDraws as LegacyDraws
    from spairc.evaluate import predict as predict
    from spairc.metrics import PCK as PCK
    from spairc.metrics import mce as mce
    from spairc.metrics import relative_mce as relative_mce
    from spairc.protocols import PROTOCOLS as PROTOCOLS
    from spairc.runs import Run as Run
    from spairc.types import BadInput as BadInput
    from spairc.types import Condition as Condition
    from spairc.types import Matcher as Matcher
    from spairc.types import Pair as Pair
    from spairc.types import Query as Query

_HOME = {
    "CORRUPTIONS": "spairc.corruptions",
    "corrupt": "spairc.corruptions",
    "corrupt_batch": "spairc.corrupt_folder",
    "DATASETS": "spairc.datasets",
    "load_dataset": "spairc.datasets",
    "LegacyDraws": "spairc.draws",
    "predict": "spairc.evaluate",
    "PCK": "spairc.metrics",
    "mce": "spairc.metrics",
    "relative_mce": "spairc.metrics",
    "PROTOCOLS": "spairc.protocols",
    "Run": "spairc.runs",
    "BadInput": "spairc.types",
    "Condition": "spairc.types",
    "Matcher": "spairc.types",
    "Pair": "spairc.types",
    "Query": "spairc.types",
}


def __getattr__(name: str) -> object:
    """Import a public name from the module that it lives in."""
    if name not in _HOME:
        raise AttributeError(f"module 'spairc' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(_HOME)
