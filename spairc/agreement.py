"""Whether two built sets are the same: their manifests tell, no picture is needed."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from spairc.images import read_image
from spairc.manifest import DIFFERENT, MANIFEST, SAME, Entry, distance, read_entries
from spairc.types import Condition


@dataclass(frozen=True)
class Difference:
    """A picture that two sets do not share byte for byte."""

    key: str
    condition: Condition
    how: str  # "only in ...", or how far the files are from one another

    def __str__(self) -> str:
        return f"{self.condition} {self.key}: {self.how}"


@dataclass(frozen=True)
class Agreement:
    """What two manifests have in common."""

    same: int  # files that are equal byte for byte
    differences: tuple[Difference, ...]

    @property
    def pixels_agree(self) -> bool:
        """Whether every picture is in both sets, with the same pixels."""
        return all(each.how == SAME for each in self.differences)

    @property
    def counts(self) -> dict[str, int]:
        """How often there is each kind of difference, the most frequent first."""
        return dict(Counter(each.how for each in self.differences).most_common())


def agreement(one: Path, other: Path) -> Agreement:
    """Return in what two built sets differ.

    Pictures are read only where pixel hashes differ and both files are there, to tell whether
    they are within one grey level.

    Args:
        one: A built folder, or the manifest of one.
        other: Likewise.

    Raises:
        BadInput: If a manifest is missing or damaged.
    """
    sides = [_by_cell(each) for each in (one, other)]
    differences = []
    same = 0
    for key, condition in sorted(sides[0] | sides[1], key=str):
        found = [side.get((key, condition)) for side in sides]
        how = _how(found[0], found[1], one, other)
        if how:
            differences.append(Difference(key, condition, how))
        else:
            same += 1
    return Agreement(same, tuple(differences))


def _by_cell(place: Path) -> dict[tuple[str, Condition], Entry]:
    """Return a set's entries by what they show."""
    entries = read_entries(place / MANIFEST if place.is_dir() else place)
    return {(each.key, Condition(each.corruption, each.severity)): each for each in entries}


def _how(first: Entry | None, second: Entry | None, one: Path, other: Path) -> str:
    """Return how two files differ; nothing if they do not."""
    if first is None or second is None:
        return f"only in {other if first is None else one}"
    if first.sha256 == second.sha256:
        return ""
    if first.pixels == second.pixels:
        return SAME
    if first.source != second.source or first.spec != second.spec:
        return f"{DIFFERENT}: made from another clean picture or by another specification"
    paths = [one / first.path, other / second.path]
    if all(path.is_file() for path in paths):
        return distance(read_image(paths[0]), read_image(paths[1]))
    return f"{DIFFERENT} pixels"
