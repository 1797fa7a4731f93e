"""SPair-C on disk: pictures x spec -> a folder of corrupted pictures with a manifest.

    SPair-C/README.md                          the dataset card
    SPair-C/build.json                         what the folder is made of
    SPair-C/manifest.parquet                   every file: hashes of file and pixels, and more
    SPair-C/fog/3/JPEGImages/car/a.jpg         the picture; PNG bytes under the annotated name
    SPair-C/fog/3/PairAnnotation -> the dataset's own

Each cell folder is a drop-in root of the dataset: published loaders append ".jpg" to a name, and
Pillow and OpenCV look at the content, not at the suffix, so a lossless PNG stands under it.

The unit of work is one clean picture under all cells that it lacks. When it is done, its entries
are written to `.parts`; they are joined into the manifest at the end. So whatever was complete
when a build was stopped is kept, and builds of several shards can write into one folder.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

from spairc.codecs import FORMATS, Format, format_of
from spairc.datasets.check import check_pictures
from spairc.datasets.dataset import Dataset
from spairc.datasets.folder import without_suffix
from spairc.engine import Engine, Here, run_units, shard_of
from spairc.images import image_size
from spairc.lookup import lookup
from spairc.manifest import (
    MANIFEST,
    PARTS,
    BuildRecord,
    Entry,
    all_entries,
    cell_folder,
    faults_of,
    known_entries,
    part_files,
    read_record,
    write_entries,
)
from spairc.painter import Painter, Task, make_painter
from spairc.pictures import InFolder
from spairc.spec import CORRUPTED, VERSION
from spairc.types import BadInput, Condition
from spairc.workshop import annotate, check_folder, join, only_builder, open_folder, sweep, tidy

# Of the raw pixels' size: a little above what photographs with noise need.
_SHARE = {"png": 0.6, "webp": 0.55, "jpeg": 0.35}
Watch = Callable[[str], object]


@dataclass(frozen=True)
class Originals:
    """The clean pictures of a set, and what else stands beside them."""

    name: str  # of the dataset
    split: str
    layout: str
    root: Path
    pictures: Mapping[str, str]  # image key -> path below `root`
    hashes: Mapping[str, str]  # image key -> hash of the decoded pixels
    annotations: tuple[str, ...] = ()  # what each cell folder links to or copies


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a set is written."""

    form: str = "png"  # one of `FORMATS`
    suffix: str = ""  # of the pictures' names; "" keeps those of the annotations
    copy: bool = False  # copy the annotations into each cell instead of linking to them
    repair: bool = False  # read every file again, and make those anew that are not as built
    shard: str | None = None  # "i/n": every n-th picture only, beginning with the i-th

    def check(self) -> Format:
        """Return the format.

        Raises:
            BadInput: If there is none of that name, the suffix is not its own, or the shard is
                none.
        """
        form = lookup(FORMATS, self.form, "format")
        if self.suffix not in ("", form.suffix):
            raise BadInput(f"--suffix {self.suffix!r} is not {self.form}'s; give {form.suffix}")
        shard_of((), self.shard)
        return form


def build(  # noqa: PLR0913 -- each is a setting of its own; all but two have a default
    dataset: Dataset,
    out: Path,
    conditions: Sequence[Condition] = CORRUPTED,
    *,
    form: str = "png",
    suffix: str = "",
    copy: bool = False,
    repair: bool = False,
    shard: str | None = None,
    engine: Engine | None = None,
    watch: Watch = lambda _: None,
) -> Path:
    """Write the corrupted pictures of a dataset into `out`; return its manifest.

    A build that was stopped goes on: what is complete is kept.

    Args:
        dataset: Its pair list tells which pictures are needed.
        out: The folder to make or to complete.
        conditions: The cells to make; "clean" among them is passed over.
        form: "png", "webp" (both lossless) or "jpeg" (of quality 95).
        suffix: Of the files' names: the format's own, or "" for that of the annotations.
        copy: Copy the annotations into each cell instead of linking to the dataset's.
        repair: Read every file again, and make those anew that are not as they were built.
        shard: "2/8" makes every eighth picture, beginning with the second.
        engine: Where pictures are made; in this process if not given.
        watch: Called with the image key after each picture.

    Raises:
        BadInput: If a picture is missing or damaged or there is too little space (before any
            work), a picture changes meanwhile, or the folder holds something else, is being
            written by another build, or cannot be written.
    """
    options = Options(form=form, suffix=suffix, copy=copy, repair=repair, shard=shard)
    options.check()
    originals = originals_of(dataset)
    return build_set(originals, out, conditions, options, engine=engine or Here(), watch=watch)


def originals_of(dataset: Dataset) -> Originals:
    """Return the pictures of a dataset, each of them decoded once.

    Raises:
        BadInput: As `check_pictures`.
    """
    return Originals(
        name=dataset.name,
        split=dataset.split,
        layout=dataset.layout,
        root=dataset.root.absolute(),
        pictures={key: dataset.pictures[key] for key in dataset.table.image_keys},
        hashes=check_pictures(dataset),
        annotations=dataset.annotations,
    )


def build_set(
    originals: Originals,
    out: Path,
    conditions: Sequence[Condition],
    options: Options,
    *,
    engine: Engine,
    watch: Watch,
) -> Path:
    """Write the corrupted pictures of any collection into `out`, as `build` does.

    Raises:
        BadInput: As `build`.
    """
    cells = [each for each in conditions if each.corruption is not None]
    out, record = out.absolute(), _record(originals, options)
    check_folder(out)
    with only_builder(out, options.shard):
        open_folder(out, record)
        known = _usable(originals, out, options, engine)
        keys = shard_of(list(originals.pictures), options.shard)
        tasks = [_task(originals, record.suffix, key, cells, known) for key in keys]
        _check_space(originals, out, tasks, options)
        names = [name for task in tasks for _, name in task.cells]
        sweep(out, names, alone=not options.shard)
        annotate(originals.root, originals.annotations, out, cells, copy=options.copy)
        _make(originals, out, tasks, options, engine=engine, watch=watch)
        sweep(out, names, alone=not options.shard)  # what died on a cluster was replaced
        join(out, record)
    tidy(out)
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
    hashes, entries = check_pictures(dataset), all_entries(folder, part_files(folder))
    needed: dict[tuple[str, Condition], Entry] = {}
    for cell in (each for each in conditions if each.corruption is not None):
        for key, source in hashes.items():
            name = _path(dataset.pictures[key], record.suffix, cell)
            entry = entries.get(name)
            if entry is not None and entry.source != source:
                raise BadInput(
                    f"{folder} was built from other pictures than {dataset.root}'s: {key} is "
                    f"another one; build again"
                )
            if entry is None or not (folder / name).is_file():
                raise BadInput(f"{folder / name} is missing; run spairc build to complete the set")
            needed[key, cell] = entry
    form = format_of(record.format)
    if form is None:
        raise BadInput(f"{folder} holds {record.format}, which this version of spairc cannot read")
    files = {asked: (folder / entry.path, entry.pixels) for asked, entry in needed.items()}
    return InFolder(dataset, files, record.spec, form.of_pixels)


def _record(originals: Originals, options: Options) -> BuildRecord:
    """Return what a build of these pictures is made of."""
    return BuildRecord(
        spec=VERSION,
        dataset=originals.name,
        split=originals.split,
        layout=originals.layout,
        annotations=list(originals.annotations),
        format=options.check().name,
        suffix=options.suffix,
    )


def _usable(
    originals: Originals, out: Path, options: Options, engine: Engine
) -> Mapping[str, Entry]:
    """Return by path the files that need not be made.

    Raises:
        BadInput: If one was made from another picture than is there now.
    """
    known = known_entries(out)
    ours = [entry for entry in known.values() if entry.key in originals.hashes]
    for entry in ours:
        if entry.source != originals.hashes[entry.key]:
            raise BadInput(
                f"{out} holds another build: picture {entry.key} was another one; choose another "
                f"--out"
            )
    if not options.repair:
        return known
    rejected = {fault.path for fault in faults_of(out, ours, root=originals.root, engine=engine)}
    return {path: entry for path, entry in known.items() if path not in rejected}


def _task(
    originals: Originals,
    suffix: str,
    key: str,
    cells: Sequence[Condition],
    known: Mapping[str, Entry],
) -> Task:
    """Return what is to be made of one picture."""
    named = [(cell, _path(originals.pictures[key], suffix, cell)) for cell in cells]
    return Task(
        key=key,
        original=originals.pictures[key],
        source=originals.hashes[key],
        cells=tuple((cell, name) for cell, name in named if name not in known),
    )


def _path(original: str, suffix: str, cell: Condition) -> str:
    """Return where a picture of a cell stands below the built set."""
    name = f"{without_suffix(original)}{suffix}" if suffix else original
    return f"{cell_folder(cell)}/{name}"


def _check_space(originals: Originals, out: Path, tasks: Sequence[Task], options: Options) -> None:
    """Raise BadInput if what is missing will not fit, before the first picture is made."""
    need = 0.0
    for task in tasks:
        size = image_size(originals.root / task.original)
        need += _SHARE[options.form] * 3 * size.width * size.height * len(task.cells)
    free = shutil.disk_usage(out).free
    if need > free:
        raise BadInput(
            f"no space left for {out}: it needs about {need / 1e9:.3g} GB more and "
            f"{free / 1e9:.3g} GB are free; choose another --out or fewer cells with --on"
        )


def _make(
    originals: Originals,
    out: Path,
    tasks: Sequence[Task],
    options: Options,
    *,
    engine: Engine,
    watch: Watch,
) -> None:
    """Make all pictures, and write down what was made."""
    for task in tasks:
        if not task.cells:
            watch(task.key)
    todo = {task.key: task for task in tasks if task.cells}
    make = partial(make_painter, Painter(originals.root, out, options.form))
    with closing(run_units(todo.values(), make, engine)) as results:
        for key, entries in results:
            names = "\0".join(name for _, name in todo[key].cells)
            write_entries(out / PARTS / f"{sha256(names.encode()).hexdigest()}.parquet", entries)
            watch(key)
