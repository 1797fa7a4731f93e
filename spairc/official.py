"""SPair-C as somebody else made it: an archive of pictures without a manifest.

The benchmark's authors published theirs as a download, without the program. Folders are known by
their names, in any nesting and spelling: `fog/3`, `3/Fog`, `fog_3`, `severity-3/weather/fog`,
`JPEG/s5`, `jpeg_compression/level 5`. Pictures may have any size and suffix; they stand below a
folder of their category or, where their names are unique, anywhere.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import PIL.Image

from spairc.build import open_build
from spairc.datasets.check import check_pictures
from spairc.datasets.dataset import Dataset
from spairc.datasets.folder import normal, without_suffix
from spairc.images import image_size, read_image
from spairc.manifest import RECORD, file_hash
from spairc.pictures import Pictures
from spairc.spec import CORRUPTION_NAMES
from spairc.types import BadInput, Condition, Image

# Spellings, without what is neither letter nor digit. "gaussian" needs a folder of its group.
_SPELLINGS: dict[str, str] = {
    **{name.replace("_", ""): name for name in CORRUPTION_NAMES},
    "shot": "shot_noise",
    "impulse": "impulse_noise",
    "speckle": "speckle_noise",
    "defocus": "defocus_blur",
    "gaussblur": "gaussian_blur",
    "gaussnoise": "gaussian_noise",
    "jpeg": "jpeg_compression",
    "jpegcompress": "jpeg_compression",
    "saturation": "saturate",
    "pixelation": "pixelate",
    "pixelated": "pixelate",
}
_GAUSSIANS = {"noise": "gaussian_noise", "blur": "gaussian_blur"}
_LEVEL = r"(?:severity|sev|level|lvl|s|l)?0?(?P<level>[1-5])"
_NAME = rf"(?P<name>gaussian|{'|'.join(sorted(_SPELLINGS, key=len, reverse=True))})"
_FOLDERS = tuple(re.compile(each) for each in (rf"{_NAME}(?:{_LEVEL})?", rf"{_LEVEL}(?:{_NAME})?"))
_NAMED = 5  # missing cells that are listed by name


@dataclass(frozen=True)
class Place:
    """What the folders above a picture say."""

    condition: Condition | None  # None if they name no corruption
    rest: tuple[str, ...]  # the folders that say nothing, then the file's name without suffix


@dataclass(frozen=True)
class Archive:
    """The pictures of an archive that belong to a dataset."""

    folder: Path
    files: Mapping[tuple[str, Condition], Path]

    @property
    def hash(self) -> str:
        """Its identity: SHA-256 over what the pictures show and their bytes."""
        order = sorted(self.files, key=lambda each: (str(each[1]), each[0]))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            hashes = pool.map(lambda each: file_hash(self.files[each]), order)
            named = zip(order, hashes, strict=True)
            lines = [f"{cell} {key} {digest}" for (key, cell), digest in named]
        return sha256("\n".join(lines).encode()).hexdigest()


@dataclass(frozen=True)
class InArchive:
    """Pictures of an archive; clean ones come from the dataset itself."""

    dataset: Dataset
    archive: Archive
    origin: dict[str, str]  # what a run's record says of them

    def read(self, key: str, condition: Condition) -> Image:
        """Return the picture with this image key under a condition, in the archive's own size.

        Raises:
            BadInput: If it is damaged.
        """
        if condition.corruption is None:
            return read_image(self.dataset.path(key))
        return read_image(self.archive.files[key, condition])


def open_corrupted(folder: Path, dataset: Dataset, conditions: Sequence[Condition]) -> Pictures:
    """Return corrupted pictures from a folder: a set that `build` made, or anybody's archive.

    Raises:
        BadInput: If it is neither, or a picture that is needed is missing, or two files claim to
            be the same one.
    """
    if (folder / RECORD).exists():
        return open_build(folder, dataset, conditions)
    hashes = check_pictures(dataset)
    archive = find_archive(folder, hashes)
    check_complete(archive, list(hashes), conditions)
    return InArchive(dataset, archive, _origin(archive))


def find_archive(folder: Path, hashes: Mapping[str, str]) -> Archive:
    """Return the pictures below a folder that belong to a dataset.

    Args:
        folder: Of the archive, unpacked.
        hashes: The dataset's image keys, and hashes of their clean pixels: where the archive has
            no folders of categories, one file may stand for several keys of the same picture.

    Raises:
        BadInput: If no folder names a corruption, folders contradict one another, or two files
            claim to be the same picture.
    """
    found = list(_places(folder))
    if not any(place.condition for place, _ in found):
        raise BadInput(
            f"{folder} is no built set: it has no {RECORD}; and no archive: no folder in it that "
            f"holds pictures is named after a corruption, such as fog/3"
        )
    keys_of = _keys_of([place.rest for place, _ in found if place.condition], hashes)
    files: dict[tuple[str, Condition], Path] = {}
    for place, path in found:
        if place.condition is None:
            continue
        for key in keys_of.get(place.rest, ()):
            if not place.condition.severity:
                raise BadInput(f"{path}: no folder above it tells the severity, 1 to 5; rename one")
            other = files.setdefault((key, place.condition), path)
            if other != path:
                raise BadInput(
                    f"{path} and {other} are both {key} under {place.condition}; keep one"
                )
    return Archive(folder, files)


def check_complete(archive: Archive, keys: Sequence[str], conditions: Sequence[Condition]) -> None:
    """Refuse an archive that lacks a picture.

    Raises:
        BadInput: It names the cells that are missing, and of others the first missing picture.
    """
    lacks = []
    for condition in conditions:
        if condition.corruption is not None:
            missing = [key for key in keys if (key, condition) not in archive.files]
            if len(missing) == len(keys):
                lacks.append(str(condition))
            elif missing:
                lacks.append(f"{condition} ({len(missing)} of {len(keys)} pictures: {missing[0]})")
    if lacks:
        more = f" and {len(lacks) - _NAMED} more" if len(lacks) > _NAMED else ""
        raise BadInput(
            f"{archive.folder} lacks {', '.join(lacks[:_NAMED])}{more}; complete it, or choose "
            f"with --on what it has"
        )


def place_of(parts: Sequence[str]) -> Place:
    """Return what a picture's folders say, from the outermost to the file's name without suffix.

    Raises:
        BadInput: If they name two corruptions or two severities, or a "gaussian" that may be
            noise or blur.
    """
    names, levels, rest, groups = set[str](), set[int](), list[str](), set[str]()
    for part in parts[:-1]:
        plain = "".join(character for character in part.casefold() if character.isalnum())
        found = next((match for each in _FOLDERS if (match := each.fullmatch(plain))), None)
        groups |= {plain} & set(_GAUSSIANS)
        if found is None:
            rest.append(part)
            continue
        names |= {found["name"]} if found["name"] else set()
        levels |= {int(found["level"])} if found["level"] else set()
    corruptions = {_corruption(name, groups, parts) for name in names}
    if len(corruptions) > 1 or len(levels) > 1:
        several = sorted(corruptions) if len(corruptions) > 1 else sorted(levels)
        listed = " and ".join(map(str, several))
        raise BadInput(f"{'/'.join(parts)}: its folders name {listed}; rename one")
    rest.append(parts[-1])
    if not corruptions:
        return Place(None, tuple(rest))
    return Place(Condition(corruptions.pop(), max(levels, default=0)), tuple(rest))


def _origin(archive: Archive) -> dict[str, str]:
    """Return what a run's record says of an archive."""
    identity = archive.hash
    sizes = {image_size(path) for path in archive.files.values()}
    kinds = sorted({path.suffix.lower().lstrip(".") for path in archive.files.values()})
    measure = " x ".join(map(str, sizes.pop())) if len(sizes) == 1 else "various sizes"
    return {
        "spec": f"archive {identity[:12]}",
        "archive": identity,
        "format": f"{'/'.join(kinds)}, {measure}",
    }


def _corruption(name: str, groups: set[str], parts: Sequence[str]) -> str:
    """Return the corruption that a spelling means."""
    if name != "gaussian":
        return _SPELLINGS[name]
    if len(groups) != 1:
        raise BadInput(
            f"{'/'.join(parts)}: gaussian is noise or blur; rename the folder gaussian_noise or "
            f"gaussian_blur"
        )
    return _GAUSSIANS[groups.pop()]


def _places(folder: Path) -> Iterator[tuple[Place, Path]]:
    """Yield every picture below a folder and what its place says, in the order of paths."""
    suffixes = PIL.Image.registered_extensions()
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(each for each in folders if not each.startswith((".", "__MACOSX")))
        above = (folder.absolute().name, *Path(place).relative_to(folder).parts)
        for name in sorted(names):
            if Path(name).suffix.lower() in suffixes and not name.startswith("."):
                parts = [normal(part) for part in (*above, without_suffix(name))]
                yield place_of(parts), Path(place) / name


def _keys_of(
    rests: Sequence[tuple[str, ...]], hashes: Mapping[str, str]
) -> dict[tuple[str, ...], list[str]]:
    """Return which image keys a file stands for, by what its path says besides the condition.

    The end of the path, folders and all, is the key. If it is so for no file, the archive has no
    folders of categories, and the file's name tells.
    """
    found: dict[tuple[str, ...], list[str]] = {}
    for rest in set(rests):
        ends = ("/".join(rest[start:]) for start in range(len(rest)))
        found[rest] = [end for end in ends if end in hashes]
    if any(found.values()):
        return found
    by_name = defaultdict(list)
    for key in hashes:
        by_name[key.rpartition("/")[2]].append(key)
    return {rest: _same_picture(rest[-1], by_name.get(rest[-1], []), hashes) for rest in found}


def _same_picture(name: str, keys: list[str], hashes: Mapping[str, str]) -> list[str]:
    """Return these keys, if they are one picture in several categories."""
    if len({hashes[key] for key in keys}) > 1:
        raise BadInput(
            f"the archive has no folders of categories, and {name} may be {' or '.join(keys)}; "
            f"sort its pictures into folders of their categories"
        )
    return keys
