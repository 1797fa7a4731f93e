"""What the models take: seconds and memory, as `benchmarks/zoo.py` measured them on SPair-mini."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("measured.json")
_DIFFUSION = "Stable Diffusion's files are not at hand, and random weights it does not take"
# Why a model that runs is not in that file.
UNMEASURED: Mapping[str, str] = {
    "dift": _DIFFUSION,
    "hyperfeatures": _DIFFUSION,
    "sd-dino": _DIFFUSION,
    "geoaware-sc": _DIFFUSION,
    "geoaware-zero": _DIFFUSION,
    "marco": "its network is in a repository of its own, with its weights",
}


@dataclass(frozen=True)
class Measured:
    """What one model took on one thread of a CPU."""

    picture: float  # seconds to encode one
    pair: float  # seconds to match one whose pictures are encoded
    megabytes: float  # the most that the process held


def measured() -> Mapping[str, Measured]:
    """Return what is known, by the model's name; random weights take as long as any."""
    rows = json.loads(FILE.read_text(encoding="utf-8"))
    return {name: Measured(**row) for name, row in rows.items()}
