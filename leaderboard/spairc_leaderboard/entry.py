"""An entry of the leaderboard: what was run, by whom it claims to be, and the numbers it claims.

The dataset repository `ORG/NAME` on the Hub is laid out so:

    README.md                           the card; its configurations `results` and `pairs` are what
                                        `datasets.load_dataset` and the Hub's viewer show
    results.parquet                     one row per entry and protocol, all columns flat
                                        (`spairc_leaderboard.table`); made from the entries alone
    benchmarks/ID.json                  a `Benchmark` that the repository ranks; ID is its `id`
    pairs/HASH.parquet                  the truth: pairs with points, boxes and sizes, as
                                        `spairc.pairs.write_pairs` writes them, HASH being the
                                        pair-list hash (`Benchmark.pair_list`)
    entries/NAME-HASH/entry.json        an `Entry`, as it was sent; never changed afterwards
    entries/NAME-HASH/predictions/fog.parquet
                                        every answer: one file for `clean` and for each corruption,
                                        16 in all, so that an upload that broke off goes on with the
                                        next (`spairc_leaderboard.predictions`)
    entries/NAME-HASH/status.json       a `Status`: what the checker found. A pull request that
                                        brings one is refused; the checker alone writes it

NAME is the model's name in the letters a to z, digits and hyphens; HASH the first 12 digits of
`Entry.content`, which depends on the benchmark and on the answers only, so the same run is the same
entry whoever sends it, whatever they call it.

Everything in an entry is a claim until the checker has recomputed it. Numbers are in percent,
rounded to six decimals: every digit that is stored is compared. `spairc_leaderboard.repository`
reads and writes the files.

To add a field: raise `SCHEMA`, keep the old reader, add a stored old file to the tests.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import get_args

from spairc.protocols import PROTOCOLS, Direction
from spairc.spec import CONDITIONS, CORRUPTION_NAMES
from spairc.types import BadInput
from spairc_leaderboard.strict import dump_json, shown
from spairc_leaderboard.wording import (
    check_address,
    check_date,
    check_line,
    check_sha256,
    identity,
    is_identity,
)

SCHEMA = 1
DECIMALS = 6  # of every stored score; see the module's docstring
MOST_PAIRS = 1_000_000
MOST_POINTS = 10_000_000
SIDES = ("both", "source", "target")
CONDITION_NAMES = tuple(str(each) for each in CONDITIONS)  # "clean", "gaussian_noise@1", ...
FILE_NAMES = ("clean", *CORRUPTION_NAMES)  # of the answers
PUBLISHED = "published"  # the baseline that is CATs in the paper's Table 4

Scalar = str | int | float | bool


@dataclass(frozen=True)
class Benchmark:
    """What was asked. Numbers of two benchmarks are never ranked together."""

    spec: str  # "spair-c/1", or "archive 0123456789ab" of somebody's built set
    format: str  # of the corrupted pictures; "lossless" unless an archive holds JPEG
    dataset: str  # "spair71k"
    split: str  # "test"
    layout: str  # "large"
    pair_list: str  # SHA-256 of the pairs as they were asked
    pairs: int
    points: int
    pictures: str  # SHA-256 over all clean pictures' decoded pixels
    side: str  # which picture of a pair was corrupted: "both", "source" or "target"
    direction: str  # "forward", or "reversed": from the listed target to the listed source

    def __post_init__(self) -> None:
        """Check every field."""
        for name in ("spec", "format", "dataset", "split", "layout"):
            check_line(name, getattr(self, name), 60)
        check_sha256("pair_list", self.pair_list)
        check_sha256("pictures", self.pictures)
        if not 0 < self.pairs <= MOST_PAIRS or not self.pairs <= self.points <= MOST_POINTS:
            raise BadInput(f"{self.pairs} pairs with {self.points} points: that cannot be")
        _check_choice("side", self.side, SIDES)
        _check_choice("direction", self.direction, get_args(Direction))

    @cached_property
    def id(self) -> str:
        """The name of its file: 12 hexadecimal digits that follow from every field."""
        return hashlib.sha256(dump_json(self)).hexdigest()[:12]


@dataclass(frozen=True)
class Model:
    """Who is ranked, in the submitter's words; shown as text, nothing of it is ever opened."""

    name: str
    paper: str  # title, or as one cites it; may be empty
    url: str  # https address of the paper or the code; may be empty
    licence: str  # of the weights or the code; may be empty
    public_weights: bool  # whether anybody can get the weights, so that the run can be repeated
    weights: str  # SHA-256 of the weights as they were loaded, or "none needed"
    training_data: tuple[str, ...]  # such as "ImageNet", "SPair-71k trn"

    def __post_init__(self) -> None:
        """Check every field."""
        check_line("name", self.name, 60)
        check_line("paper", self.paper, 200, empty=True)
        check_address("url", self.url)
        check_line("licence", self.licence, 60, empty=True)
        check_line("weights", self.weights, 80)
        _check_few("training_data", self.training_data, 10)
        for text in self.training_data:
            check_line("training_data", text, 60)


@dataclass(frozen=True)
class Evaluation:
    """How the answers were made."""

    matcher: str  # what `spairc eval --model` calls it
    package: str  # version of spairc
    device: str  # "cpu", or the GPU's name; empty if the matcher does not tell
    precision: str  # "float32"; empty if the matcher does not tell
    settings: Mapping[str, Scalar]  # the matcher's others: input side, layers, readout, ...

    def __post_init__(self) -> None:
        """Check every field."""
        check_line("matcher", self.matcher, 200)
        check_line("package", self.package, 40)
        for name in ("device", "precision"):
            check_line(name, getattr(self, name), 80, empty=True)
        _check_few("settings", self.settings, 60)
        for name, value in self.settings.items():
            check_line("settings", name, 40)
            if isinstance(value, str):
                check_line(f"settings {name!a}", value, 200, empty=True)


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval, where there are pictures enough for one."""

    value: float
    low: float | None
    high: float | None

    def __post_init__(self) -> None:
        """Check that the numbers are stored as they are compared."""
        if (self.low is None) != (self.high is None):
            raise BadInput("an interval has two ends or none")
        for number in (self.value, self.low, self.high):
            check_number(0 if number is None else number)


@dataclass(frozen=True)
class Derived:
    """What follows from the 76 values."""

    clean: Estimate  # clean PCK
    mpc: Estimate  # mean over the 75 corrupted conditions
    rpc: Estimate | None  # mPC over clean, percent; None where nothing was found on clean pictures
    mce: Estimate | None  # against the baseline, which has 100; lower is better; None without one
    relative_mce: Estimate | None  # the same of what is lost against clean; do not rank by it


@dataclass(frozen=True)
class Scores:
    """The 76 values by one protocol."""

    protocol: str  # "paper"
    metric: str  # "PCK@0.1 (box, per image, square)": the protocol's, with its tolerance
    baseline: str  # what mCE divides by: "published", an entry's folder name, or "" for none
    values: Mapping[str, float]  # "clean", "gaussian_noise@1", ... in the order of the tables
    derived: Derived

    def __post_init__(self) -> None:
        """Check every field."""
        if self.protocol not in PROTOCOLS:
            raise BadInput(f"no protocol is called {shown(self.protocol)}")
        if self.metric != str(PROTOCOLS[self.protocol].metric()):
            raise BadInput(f"metric is {shown(self.metric)}, which is not {self.protocol}'s")
        if self.baseline not in ("", PUBLISHED) and not is_identity(self.baseline):
            raise BadInput(
                f"baseline is {shown(self.baseline)}; it must be an entry or {PUBLISHED}"
            )
        check_names("values", self.values, CONDITION_NAMES)
        for name, value in self.values.items():
            check_number(value)
            if not 0 <= value <= 100:  # noqa: PLR2004 -- percent
                raise BadInput(f"{name} is {value}; PCK is between 0 and 100")


@dataclass(frozen=True)
class File:
    """One file of answers."""

    bytes: int
    sha256: str

    def __post_init__(self) -> None:
        """Check every field."""
        if self.bytes <= 0:
            raise BadInput(f"a file of {self.bytes} bytes: that cannot be")
        check_sha256("sha256", self.sha256)


@dataclass(frozen=True)
class Predictions:
    """The files with the answers, and a digest of each cell so that a changed point has a name."""

    files: Mapping[str, File]  # "clean", "gaussian_noise", ...: `FILE_NAMES`
    cells: Mapping[str, str]  # condition -> SHA-256 of its (P, 2) little-endian float32 x, y

    def __post_init__(self) -> None:
        """Check every field."""
        check_names("files", self.files, FILE_NAMES)
        check_names("cells", self.cells, CONDITION_NAMES)
        for name, digest in self.cells.items():
            check_sha256(name, digest)


@dataclass(frozen=True)
class Entry:
    """All that a pull request claims."""

    schema: int
    benchmark: Benchmark
    model: Model
    evaluation: Evaluation
    environment: Mapping[str, str]  # versions of Python and of the libraries that pixels depend on
    scores: tuple[Scores, ...]  # one or more protocols; the first is the one to rank by
    predictions: Predictions
    content: str  # `content_hash` of benchmark and cells
    date: str  # when it was sent: "2026-11-20"
    replaces: str  # the folder name of the same model's earlier entry; empty for none

    def __post_init__(self) -> None:
        """Check every field, and that the fields fit each other."""
        check_schema(self.schema)
        _check_few("environment", self.environment, 60)
        for name, version in self.environment.items():
            check_line("environment", name, 40)
            check_line(f"environment {name!a}", version, 80)
        protocols = [each.protocol for each in self.scores]
        if not protocols or len(set(protocols)) != len(protocols):
            raise BadInput("scores: give each protocol once, and at least one")
        for name in protocols:
            if PROTOCOLS[name].direction != self.benchmark.direction:
                raise BadInput(f"scores: {name} is not asked {self.benchmark.direction}")
        check_sha256("content", self.content)
        check_date("date", self.date)
        if self.replaces and not is_identity(self.replaces):
            raise BadInput(f"replaces is {shown(self.replaces)}; it must be an entry's folder name")

    @property
    def id(self) -> str:
        """The name of its folder."""
        return identity(self.model.name, self.content)

    def of(self, protocol: str) -> Scores | None:
        """Return the scores by this protocol; None if it was not counted so."""
        return next((each for each in self.scores if each.protocol == protocol), None)


@dataclass(frozen=True)
class Recomputed:
    """The checker counted every number again from the predictions and the truth."""

    package: str  # version of spairc that did
    date: str
    flags: tuple[str, ...]  # what looked odd, in the checker's words; told, not failed

    def __post_init__(self) -> None:
        """Check every field."""
        check_line("package", self.package, 40)
        check_date("date", self.date)
        for text in self.flags:
            check_line("flags", text, 300)


@dataclass(frozen=True)
class Reproduced:
    """Somebody ran the public weights again and got the same."""

    package: str
    date: str
    device: str
    largest_difference: float  # percentage points, over the 76 values and all protocols

    def __post_init__(self) -> None:
        """Check every field."""
        check_line("package", self.package, 40)
        check_date("date", self.date)
        check_line("device", self.device, 80, empty=True)


@dataclass(frozen=True)
class Status:
    """What the checker found; the submitter has no part in it."""

    schema: int
    recomputed: Recomputed | None
    reproduced: Reproduced | None

    def __post_init__(self) -> None:
        """Check the schema."""
        check_schema(self.schema)


def content_hash(benchmark: Benchmark, cells: Mapping[str, str]) -> str:
    """Return what names a run: SHA-256 over the benchmark and the digests of its 76 cells."""
    digest = hashlib.sha256(dump_json(benchmark))
    for name in CONDITION_NAMES:
        digest.update(cells[name].encode())
    return digest.hexdigest()


def rounded(value: float) -> float:
    """Return a score as it is stored."""
    return round(value, DECIMALS) + 0.0  # never -0.0


def check_number(value: float) -> None:
    """Check that a score is stored with no more digits than are compared.

    Raises:
        BadInput: If it has more, or is no number.
    """
    if not math.isfinite(value) or rounded(value) != value:
        raise BadInput(f"{value!r} must be a number with at most {DECIMALS} decimals")


def check_names(what: str, given: Mapping[str, object], wanted: tuple[str, ...]) -> None:
    """Check that there is something for each of these names and for nothing else.

    Raises:
        BadInput: If not; one that is missing or unknown is named.
    """
    missing = [name for name in wanted if name not in given]
    unknown = sorted(set(given) - set(wanted))
    if missing:
        raise BadInput(f"{what}: {len(missing)} of {len(wanted)} are missing: {missing[0]}")
    if unknown:
        raise BadInput(f"{what}: nothing is called {shown(unknown[0])}")


def check_schema(schema: int) -> None:
    """Check that this version can read the file.

    Raises:
        BadInput: If it is of another schema.
    """
    if schema != SCHEMA:
        raise BadInput(f"schema is {shown(schema)}; this version of spairc reads {SCHEMA} only")


UNCHECKED = Status(SCHEMA, recomputed=None, reproduced=None)


def _check_choice(what: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse what is none of a few words."""
    if value not in choices:
        raise BadInput(f"{what} is {shown(value)}; choose from {', '.join(choices)}")


def _check_few(what: str, items: Mapping[str, object] | tuple[object, ...], most: int) -> None:
    """Refuse more items than are ever needed."""
    if len(items) > most:
        raise BadInput(f"{what} has {len(items)} items; at most {most} are allowed")
