"""The files of a leaderboard's repository: which may be there, how large, and how they are read.

A repository is a folder: a clone, or what `spairc_leaderboard.hub` fetched. `entry` tells how it
is laid out.
"""

from dataclasses import dataclass
from pathlib import Path

from spairc.pairs import PairTable, read_pairs
from spairc.types import BadInput
from spairc_leaderboard.entry import UNCHECKED, Benchmark, Entry, Status, check_schema
from spairc_leaderboard.strict import build, parse_json

LARGEST_JSON = 256 * 1024  # bytes; an entry of two protocols has about 30 KiB
LARGEST_PAIRS = 256 * 1024**2  # bytes of a pair list; SPair-71k's large test list has about 8 MiB


@dataclass(frozen=True)
class Listed:
    """An entry in its repository."""

    entry: Entry
    status: Status


def read_entry(path: Path) -> Entry:
    """Return the entry in this file.

    Raises:
        BadInput: If it is missing, too large, a link, no strict JSON, or not what the schema says.
    """
    return build(Entry, _with_known_schema(parse_json(read_bounded(path), path.name)), path.name)


def read_status(path: Path) -> Status:
    """Return the status in this file; `UNCHECKED` if there is none.

    Raises:
        BadInput: As `read_entry`.
    """
    if not path.exists():
        return UNCHECKED
    return build(Status, _with_known_schema(parse_json(read_bounded(path), path.name)), path.name)


def read_benchmark(path: Path) -> Benchmark:
    """Return the benchmark in this file, whose name must be its identity.

    Raises:
        BadInput: As `read_entry`, or if the name is another's.
    """
    found = build(Benchmark, parse_json(read_bounded(path), path.name), path.name)
    if path.name != f"{found.id}.json":
        raise BadInput(f"{path.name} holds benchmark {found.id}; it was changed")
    return found


@dataclass(frozen=True)
class Leaderboard:
    """What a repository ranks, and what it holds."""

    folder: Path
    benchmarks: tuple[Benchmark, ...]
    entries: tuple[Listed, ...]

    def entry(self, name: str) -> Listed | None:
        """Return the entry in the folder of this name; None if there is none."""
        return next((each for each in self.entries if each.entry.id == name), None)

    def truth(self, benchmark: Benchmark) -> PairTable:
        """Return the pairs of one of its benchmarks.

        Raises:
            BadInput: If the file is missing, damaged, or not the list that its name says.
        """
        path = self.folder / "pairs" / f"{benchmark.pair_list}.parquet"
        check_file(path, LARGEST_PAIRS)
        try:
            pairs = read_pairs(path)
        except (OSError, OverflowError, MemoryError) as error:
            raise BadInput(f"{path.name} is damaged ({type(error).__name__})") from None
        points = len(pairs.target_points)
        if (pairs.hash, len(pairs), points) != (
            benchmark.pair_list,
            benchmark.pairs,
            benchmark.points,
        ):
            raise BadInput(f"{path.name} is not the pair list that its name says")
        return pairs


def open_leaderboard(folder: Path, *, skip: str = "") -> Leaderboard:
    """Return the leaderboard in this folder.

    Args:
        folder: A clone, or what was fetched.
        skip: An entry's folder name that is passed over, because it is being checked.

    Raises:
        BadInput: If a file cannot be read, or an entry lies in a folder that is not its own.
    """
    paths = sorted(folder.glob("entries/*/entry.json"))
    return Leaderboard(
        folder=folder,
        benchmarks=tuple(read_benchmark(path) for path in sorted(folder.glob("benchmarks/*.json"))),
        entries=tuple(_listed(path) for path in paths if path.parent.name != skip),
    )


def read_bounded(path: Path, largest: int = LARGEST_JSON) -> bytes:
    """Return a small file's bytes; one that is larger is not read.

    Raises:
        BadInput: If it is missing, a link, no file, or larger.
    """
    check_file(path, largest)
    with path.open("rb") as file:
        return file.read(largest)


def check_file(path: Path, largest: int) -> int:
    """Check that this is a plain file of bounded size; return its bytes.

    Raises:
        BadInput: If it is missing, a link, no file, empty, or larger.
    """
    if path.is_symlink() or not path.is_file():
        raise BadInput(f"{path.name} is missing or is no plain file")
    size = path.stat().st_size
    if not 0 < size <= largest:
        raise BadInput(f"{path.name} has {size} bytes; 1 to {largest} are allowed")
    return size


def _listed(path: Path) -> Listed:
    """Return the entry in this file, with what stands beside it."""
    entry = read_entry(path)
    if entry.id != path.parent.name:
        raise BadInput(f"{path.parent.name} holds entry {entry.id}; rename its folder")
    return Listed(entry, read_status(path.parent / "status.json"))


def _with_known_schema(value: object) -> object:
    """Refuse another schema before its fields are complained about."""
    if isinstance(value, dict) and type(value.get("schema")) is int:
        check_schema(value["schema"])
    return value
