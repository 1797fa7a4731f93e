"""The folder that a build writes into: one builder at a time, no leftovers, one manifest."""

import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path, PurePosixPath

from spairc.card import card_of
from spairc.files import explained, make_folder, write_text
from spairc.lock import locked
from spairc.manifest import (
    CARD,
    LOCK,
    MANIFEST,
    PARTS,
    RECORD,
    BuildRecord,
    cell_folder,
    known_entries,
    part_files,
    read_record,
    write_entries,
    write_record,
)
from spairc.types import BadInput, Condition

_LEFTOVER = ".part"  # how names end of files that were being written (`spairc.files`)


def check_folder(out: Path) -> None:
    """Make the folder, unless it is there and can be gone on with.

    Raises:
        BadInput: If it holds something else or cannot be written.
    """
    if out.exists() and not (out.is_dir() and _is_ours(out)):
        raise BadInput(f"{out} exists and holds no built set; choose another --out")
    make_folder(out)


@contextmanager
def only_builder(out: Path, shard: str | None) -> Iterator[None]:
    """Keep others from writing into the folder; builders of other shards may.

    Raises:
        BadInput: If another one is at it.
    """
    with ExitStack() as locks:
        locks.enter_context(locked(out / LOCK, shared=shard is not None))
        if shard is not None:
            locks.enter_context(locked(out / f"{LOCK}-{shard.replace('/', '-of-')}"))
        yield


def open_folder(out: Path, record: BuildRecord) -> None:
    """Write what the folder is made of, or check that it is the same build to go on with.

    Raises:
        BadInput: If it is another build.
    """
    if not (out / RECORD).exists():
        write_record(out, record)
    old = asdict(read_record(out))
    for name, value in asdict(record).items():
        if old[name] != value:
            raise BadInput(
                f"{out} holds another build: {name} was {old[name]!r} and is now {value!r}; "
                f"choose another --out"
            )


def sweep(out: Path, names: Iterable[str], *, alone: bool) -> None:
    """Remove what a builder that was killed left half written.

    Args:
        out: The folder.
        names: The pictures to be made, below it; other shards may be writing others.
        alone: Nobody else is writing, so the folder's own records are looked after too.
    """
    final: defaultdict[Path, set[str]] = defaultdict(set)
    for name in names:
        final[out / PurePosixPath(name).parent].add(PurePosixPath(name).name)
    if alone:
        final[out] |= {RECORD, MANIFEST, CARD}
    for folder, wanted in final.items():
        for path in folder.glob(f".*{_LEFTOVER}"):
            # ".a.jpg.xyz.part" was to become "a.jpg"
            if path.name[1:].rsplit(".", 2)[0] in wanted:
                path.unlink(missing_ok=True)


def annotate(
    root: Path, names: Sequence[str], out: Path, cells: Sequence[Condition], *, copy: bool
) -> None:
    """Put a dataset's annotations into each cell folder, as links or as copies.

    Raises:
        BadInput: If they cannot be written.
    """
    with locked(out / f"{LOCK}-annotations", wait=True):
        for cell in cells:
            folder = out / cell_folder(cell)
            with explained(folder):
                folder.mkdir(parents=True, exist_ok=True)
                for name in names:
                    _put((root / name).resolve(), folder / name, copy=copy)


def _is_ours(out: Path) -> bool:
    """Tell whether a folder holds a built set, or nothing yet."""
    return (out / RECORD).exists() or all(path.name.startswith(LOCK) for path in out.iterdir())


def _put(original: Path, place: Path, *, copy: bool) -> None:
    """Put one file or folder of annotations in its place, whole or not at all."""
    if place.is_symlink() or place.exists():
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    if not copy:
        place.symlink_to(original, target_is_directory=original.is_dir())
        return
    unfinished = place.with_name(f".{place.name}.copy{_LEFTOVER}")
    if unfinished.is_dir():
        shutil.rmtree(unfinished)
    if original.is_dir():
        shutil.copytree(original, unfinished)
    else:
        shutil.copyfile(original, unfinished)
    unfinished.rename(place)


def join(out: Path, record: BuildRecord) -> None:
    """Join what all builders wrote down into one manifest, and write the card.

    Raises:
        BadInput: If they cannot be written.
    """
    with locked(out / f"{LOCK}-manifest", wait=True):
        parts = part_files(out)
        entries = known_entries(out)
        listed = [entries[name] for name in sorted(entries)]
        write_entries(out / MANIFEST, listed)
        write_text(out / CARD, card_of(record, listed))
        for part in parts:
            part.unlink(missing_ok=True)


def tidy(out: Path) -> None:
    """Remove what only builders need, once the last one is done."""
    with suppress(BadInput), locked(out / LOCK):  # refused while another shard is being made
        for lock in out.glob(f"{LOCK}-*"):
            lock.unlink(missing_ok=True)
        shutil.rmtree(out / PARTS, ignore_errors=True)
