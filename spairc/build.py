"""SPair-C on disk: dataset x spec -> a folder of corrupted pictures with a manifest.

    SPair-C/build.json                         what the folder is made of
    SPair-C/manifest.parquet                   every file: size, SHA-256 of file and of pixels
    SPair-C/fog/3/JPEGImages/car/a.jpg         the picture; PNG bytes under the annotated name
    SPair-C/fog/3/PairAnnotation -> the dataset's own

Each cell folder is a drop-in root of the dataset: published loaders append ".jpg" to a name, and
Pillow and OpenCV look at the content, not at the suffix, so a lossless PNG stands under it.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from spairc.corruptions import corrupt
from spairc.datasets.check import check_pictures
from spairc.datasets.dataset import Dataset
from spairc.files import explained, make_folder
from spairc.images import image_size, joint_hash, pixel_hash, read_image, write_png
from spairc.manifest import (
    MANIFEST,
    PARTS,
    RECORD,
    BuildRecord,
    Entry,
    cell_folder,
    file_hash,
    known_entries,
    read_record,
    write_entries,
    write_record,
)
from spairc.pictures import InFolder
from spairc.spec import CORRUPTED, VERSION
from spairc.types import BadInput, Condition, Image

_PNG_SHARE = 0.6  # of the raw pixels' size: a little above what photographs with noise need


def build(
    dataset: Dataset,
    out: Path,
    conditions: Sequence[Condition] = CORRUPTED,
    *,
    copy: bool = False,
    watch: Callable[[str], object] = lambda _: None,
) -> Path:
    """Write the corrupted pictures of a dataset into `out`; return its manifest.

    A build that was stopped goes on: what is complete is kept.

    Args:
        dataset: Its pair list tells which pictures are needed.
        out: The folder to make or to complete.
        conditions: The cells to make; "clean" among them is passed over.
        copy: Copy the annotations into each cell instead of linking to the dataset's.
        watch: Called with the image key after each picture.

    Raises:
        BadInput: If a picture is missing or damaged or there is too little space (before any
            work), or the folder holds something else, or cannot be written.
    """
    hashes = check_pictures(dataset)
    _open_folder(out, _record(dataset, hashes))
    cells = [each for each in conditions if each.corruption is not None]
    known = known_entries(out)
    _check_space(dataset, out, cells, known)
    for cell in cells:
        _annotate(dataset, out / cell_folder(cell), copy=copy)
    for key in dataset.table.image_keys:
        missing = [each for each in cells if _path(dataset, key, each) not in known]
        if missing:
            new = _corrupted(dataset, key, hashes[key], out, missing)
            write_entries(out / PARTS / f"{sha256(key.encode()).hexdigest()}.parquet", new)
        watch(key)
    entries = known | known_entries(out)
    write_entries(out / MANIFEST, (entries[name] for name in sorted(entries)))
    shutil.rmtree(out / PARTS, ignore_errors=True)
    return out / MANIFEST


def open_build(folder: Path, dataset: Dataset, conditions: Sequence[Condition]) -> InFolder:
    """Return the pictures of a built set for an evaluation.

    Raises:
        BadInput: If the folder was built from other pictures or by another spec, or a picture
            that the evaluation needs is missing.
    """
    record = read_record(folder)
    if record.spec != VERSION:
        raise BadInput(f"{folder} holds {record.spec}; this version of spairc makes {VERSION}")
    if record.pictures != joint_hash(check_pictures(dataset)):
        raise BadInput(f"{folder} was built from other pictures than {dataset.root}'s; build again")
    cells = [each for each in conditions if each.corruption is not None]
    for name in [_path(dataset, key, cell) for cell in cells for key in dataset.table.image_keys]:
        if not (folder / name).is_file():
            raise BadInput(f"{folder / name} is missing; run spairc build to complete the set")
    return InFolder(dataset, folder, record.spec, record.format)


def _path(dataset: Dataset, key: str, cell: Condition) -> str:
    """Return where a picture of a cell stands below the built set."""
    return f"{cell_folder(cell)}/{dataset.pictures[key]}"


def _record(dataset: Dataset, hashes: Mapping[str, str]) -> BuildRecord:
    """Return what a build of this dataset is made of."""
    return BuildRecord(
        spec=VERSION,
        package=version("spairc"),
        dataset=dataset.name,
        split=dataset.split,
        layout=dataset.layout,
        pictures=joint_hash(hashes),
        annotations=list(dataset.annotations),
    )


def _open_folder(out: Path, record: BuildRecord) -> None:
    """Make the folder, or check that it is the same build to go on with."""
    if not (out / RECORD).exists():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise BadInput(f"{out} exists and holds no built set; choose another --out")
        make_folder(out)
        write_record(out, record)
    old = asdict(read_record(out))
    for name, value in asdict(record).items():
        if old[name] != value:
            raise BadInput(
                f"{out} holds another build: {name} was {old[name]!r} and is now {value!r}; "
                f"choose another --out"
            )


def _check_space(
    dataset: Dataset, out: Path, cells: Sequence[Condition], known: Mapping[str, Entry]
) -> None:
    """Raise BadInput if what is missing will not fit, before the first picture is made."""
    need = 0.0
    for key in dataset.table.image_keys:
        missing = sum(_path(dataset, key, cell) not in known for cell in cells)
        size = image_size(dataset.path(key))
        need += _PNG_SHARE * 3 * size.width * size.height * missing
    free = shutil.disk_usage(out).free
    if need > free:
        raise BadInput(
            f"no space left for {out}: it needs about {need / 1e9:.3g} GB more and "
            f"{free / 1e9:.3g} GB are free; choose another --out or fewer cells with --on"
        )


def _annotate(dataset: Dataset, cell: Path, *, copy: bool) -> None:
    """Put the dataset's annotations into a cell folder, as links or as copies."""
    with explained(cell):
        cell.mkdir(parents=True, exist_ok=True)
        for name in dataset.annotations:
            original, place = (dataset.root / name).resolve(), cell / name
            if place.is_symlink() or place.exists():
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            if not copy:
                place.symlink_to(original, target_is_directory=original.is_dir())
            elif original.is_dir():
                shutil.copytree(original, place)
            else:
                shutil.copyfile(original, place)


def _corrupted(
    dataset: Dataset, key: str, source: str, out: Path, cells: Sequence[Condition]
) -> list[Entry]:
    """Write one picture under these conditions; return what was written."""
    clean = read_image(dataset.path(key))
    if pixel_hash(clean) != source:
        raise BadInput(f"picture {dataset.path(key)} changed during the build; build again")
    entries = []
    for cell in cells:
        image = corrupt(clean, str(cell.corruption), severity=cell.severity, key=key)
        path = out / _path(dataset, key, cell)
        write_png(path, image)
        entries.append(_entry(path, out, image, key=key, cell=cell, source=source))
    return entries


def _entry(path: Path, out: Path, image: Image, *, key: str, cell: Condition, source: str) -> Entry:
    """Return what the manifest says of a file that was just written."""
    return Entry(
        path=path.relative_to(out).as_posix(),
        key=key,
        corruption=str(cell.corruption),
        severity=cell.severity,
        bytes=path.stat().st_size,
        sha256=file_hash(path),
        pixels=pixel_hash(image),
        source=source,
    )
