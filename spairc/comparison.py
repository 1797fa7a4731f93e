"""How far somebody's archive is from a set that `build` made: cell by cell, and from variants.

Where two programs draw different noise, no pixel is near its counterpart; then histograms tell
whether the amount is the same. A variant is a guess at how the archive was made. To add one: a
line in `VARIANTS`.
"""

import io
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from statistics import fmean, median

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from spairc.corruptions import corrupt
from spairc.engine import Engine, Here, run_units
from spairc.images import decode_image, image_size, read_image
from spairc.manifest import MANIFEST, BuildRecord, Entry, Original, read_entries, read_record
from spairc.official import find_archive
from spairc.spec import CORRUPTED
from spairc.types import BadInput, Condition, Image

_BLOCK = (8, 8)  # pixels of the smallest JPEG


@dataclass(frozen=True)
class Variant:
    """A way in which our picture may have become theirs."""

    side: int | None = None  # the clean picture is squashed to this square first
    quality: int | None = None  # of the JPEG that it is kept as


# "Match me if you can" names the program of Hendrycks and Dietterich, which corrupts pictures of
# 224 x 224 and keeps them as JPEG of quality 85; networks of the field see 256 x 256.
OURS = "ours"
VARIANTS: dict[str, Variant] = {
    OURS: Variant(),
    "ours, JPEG 85": Variant(quality=85),
    "224 first": Variant(side=224),
    "224 first, JPEG 85": Variant(side=224, quality=85),
    "256 first": Variant(side=256),
    "256 first, JPEG 85": Variant(side=256, quality=85),
}


@dataclass(frozen=True)
class Distance:
    """How far two pictures are from one another."""

    pixels: float  # mean absolute difference, in grey levels
    histograms: float  # share of values that would have to move, 0 to 1; mean of the channels


@dataclass(frozen=True)
class CellReport:
    """What was found in one cell of an archive."""

    condition: Condition
    expected: int  # pictures of the built set
    missing: int
    sizes: str  # "500 x 375", or how many different ones
    formats: str  # by content: "JPEG", "JPEG, PNG"
    quality: float | None  # median of the JPEG files' qualities; None if there are none
    compared: int  # pictures that the distances are means of
    distances: Mapping[str, Distance]  # by variant

    @property
    def nearest(self) -> str | None:
        """The variant with the nearest histograms, of equal ones that with the nearest pixels."""
        order = {name: (d.histograms, d.pixels) for name, d in self.distances.items()}
        return min(order, key=lambda name: order[name]) if order else None


@dataclass(frozen=True)
class CellFiles:
    """The pictures of one cell, in both sets."""

    condition: Condition
    pairs: tuple[tuple[Entry, Path | None], ...]  # ours and theirs; None where they have none
    pictures: int  # how many to compare


def compare(
    official: Path,
    built: Path,
    *,
    root: Path | None = None,
    pictures: int = 16,
    engine: Engine | None = None,
    watch: Callable[[Condition], object] = lambda _: None,
) -> list[CellReport]:
    """Return, per cell of a built set, how far an archive is from it.

    Args:
        official: The archive, unpacked; see `spairc.official`.
        built: What `spairc build` made.
        root: The clean pictures, for the variants that need them; found by itself where
            annotations are linked.
        pictures: How many of each cell to compare; files are counted in all.
        engine: Where cells are compared; in this process if not given.
        watch: Called after each cell.

    Raises:
        BadInput: If one of the two is not what it should be.
    """
    record, entries = read_record(built), read_entries(built / MANIFEST)
    archive = find_archive(official, {entry.key: entry.source for entry in entries})
    if not archive.files:
        raise BadInput(f"{official} has no picture of {built}; was it made of another dataset?")
    cells: dict[Condition, list[tuple[Entry, Path | None]]] = {}
    for entry in entries:
        cell = Condition(entry.corruption, entry.severity)
        cells.setdefault(cell, []).append((entry, archive.files.get((entry.key, cell))))
    units = [CellFiles(each, tuple(cells[each]), pictures) for each in CORRUPTED if each in cells]
    make = partial(_make_comparer, record, Original(built, root))
    found: dict[Condition, CellReport] = {}
    with closing(run_units(units, make, engine or Here())) as results:
        for report in results:
            found[report.condition] = report
            watch(report.condition)
    return [found[each] for each in CORRUPTED if each in found]


def distance(one: Image, other: Image) -> Distance:
    """Return how far two pictures of one size are from one another."""
    pixels = float(np.abs(one.astype(np.int16) - other).mean())
    moved = [
        np.abs(_histogram(one[..., channel]) - _histogram(other[..., channel])).sum() / 2
        for channel in range(3)
    ]
    return Distance(pixels, float(np.mean(moved)))


def jpeg_quality(path: Path) -> int | None:
    """Return the quality whose quantisation table is the nearest to a file's; None if no JPEG."""
    with PIL.Image.open(path) as picture:
        tables = _quantization(picture)
    if not tables:
        return None
    table = np.array(tables[0])
    apart = {quality: np.abs(each - table).sum() for quality, each in _tables().items()}
    return min(apart, key=lambda quality: apart[quality])


def squash(image: Image, side: int) -> Image:
    """Return a picture resized to a square, its aspect ratio given up."""
    return _resized(image, (side, side))


def _make_comparer(record: BuildRecord, original: Original) -> Callable[[CellFiles], CellReport]:
    """Return what reports on one cell."""
    return partial(_report, record, original)


def _report(record: BuildRecord, original: Original, cell: CellFiles) -> CellReport:
    """Return what is found in one cell."""
    there = [(entry, path) for entry, path in cell.pairs if path is not None]
    qualities = [quality for _, path in there if (quality := jpeg_quality(path)) is not None]
    step = max(1, len(there) // cell.pictures)
    sample = there[::step][: cell.pictures]
    measured = [_distances(record, original, entry, read_image(path)) for entry, path in sample]
    return CellReport(
        condition=cell.condition,
        expected=len(cell.pairs),
        missing=len(cell.pairs) - len(there),
        sizes=_one_of(" x ".join(map(str, image_size(path))) for _, path in there),
        formats=", ".join(sorted({_content(path) for _, path in there})),
        quality=median(qualities) if qualities else None,
        compared=len(sample),
        distances=_means(measured),
    )


def _distances(
    record: BuildRecord, original: Original, entry: Entry, theirs: Image
) -> dict[str, Distance]:
    """Return how far their picture is from each variant of ours that can be made."""
    ours, clean = read_image(original.folder / entry.path), original.clean(entry, record)
    found = {}
    for name, variant in VARIANTS.items():
        image: Image | None = ours
        if variant.side is not None:
            image = None if clean is None else _corrupted(squash(clean, variant.side), entry)
        if image is not None:
            kept = image if variant.quality is None else _as_jpeg(image, variant.quality)
            found[name] = distance(_resized(kept, theirs.shape[1::-1]), theirs)
    return found


def _corrupted(image: Image, entry: Entry) -> Image:
    """Return a picture under the condition of an entry."""
    return corrupt(image, entry.corruption, severity=entry.severity, key=entry.key)


def _means(measured: Sequence[Mapping[str, Distance]]) -> dict[str, Distance]:
    """Return the mean distance by variant, of those that could be made for all pictures."""
    names = [name for name in VARIANTS if measured and all(name in each for each in measured)]
    return {
        name: Distance(
            fmean(each[name].pixels for each in measured),
            fmean(each[name].histograms for each in measured),
        )
        for name in names
    }


def _histogram(channel: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(256,) the share of values at each grey level."""
    return np.bincount(channel.ravel(), minlength=256) / channel.size


def _resized(image: Image, size: tuple[int, ...]) -> Image:
    """Return a picture of this width and height."""
    if image.shape[1::-1] == tuple(size):
        return image
    picture = PIL.Image.fromarray(image)
    return np.asarray(picture.resize((size[0], size[1]), PIL.Image.Resampling.BILINEAR))


def _as_jpeg(image: Image, quality: int) -> Image:
    """Return a picture as a JPEG file gives it back."""
    data = io.BytesIO()
    PIL.Image.fromarray(image).save(data, format="JPEG", quality=quality)
    return decode_image(data.getvalue(), Path("a JPEG in memory"))


@cache
def _tables() -> dict[int, NDArray[np.int64]]:
    """Return the luminance tables of all qualities, the best first."""
    found = {}
    for quality in range(100, 0, -1):
        data = io.BytesIO()
        PIL.Image.new("RGB", _BLOCK).save(data, format="JPEG", quality=quality)
        with PIL.Image.open(data) as picture:
            found[quality] = np.array(_quantization(picture)[0])
    return found


def _quantization(picture: PIL.Image.Image) -> Mapping[int, Sequence[int]]:
    """Return the quantisation tables of a JPEG; of another file, none."""
    return getattr(picture, "quantization", {})


def _one_of(values: Iterable[str]) -> str:
    """Return the value that all are, or how many there are."""
    counts = Counter(values)
    if not counts:
        return "none"
    return next(iter(counts)) if len(counts) == 1 else f"{len(counts)} sizes"


def _content(path: Path) -> str:
    """Return what a file is, whatever its name says."""
    with PIL.Image.open(path) as picture:
        return str(picture.format)
