"""Pictures without labels: found, cleared of what is tested on, balanced and paired.

A folder is either PASCAL VOC's (JPEGImages and ImageSets/Main with one list per class), or a
folder of folders, each named as a category. Categories that the labelled pairs do not have are
left out: with SPair-71k those are VOC's dining table and sofa.
"""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TypeVar

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from matchme_train.data import UnlabelledPair
from matchme_train.sections import Unlabelled
from spairc.datasets.dataset import Dataset
from spairc.images import pixel_hash, read_image
from spairc.types import BadInput, Image

T = TypeVar("T")
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
_LISTS = "ImageSets/Main"
_HASH_SIDE = 16  # the perceptual hash has 16 x 16 bits
_BALANCES = ("fewest", "oversample")


@dataclass(frozen=True)
class Pool:
    """Pictures without labels by category, and what became of those that were found."""

    pictures: Mapping[str, tuple[Path, ...]]  # sorted
    counts: Mapping[str, int]  # found, several_categories, named, same_pixels, alike, kept
    hash: str  # of the names and pixels that were kept

    def report(self) -> str:
        """Return the counts in one line."""
        told = ", ".join(f"{count} {what.replace('_', ' ')}" for what, count in self.counts.items())
        sizes = ", ".join(f"{name} {len(each)}" for name, each in self.pictures.items())
        return f"unlabelled pictures: {told}; {sizes}"


def find_pool(
    folder: Path, categories: Sequence[str], held_out: Sequence[Dataset], settings: Unlabelled
) -> Pool:
    """Return the usable pictures of a folder.

    Args:
        folder: PASCAL VOC's, or a folder of folders.
        categories: Those of the labelled pairs.
        held_out: Validation and test pairs, none of whose pictures may be used: neither one of
            that name, nor one of the same pixels, nor one that looks nearly the same.
        settings: How near that is, and how many pictures a category must keep.

    Raises:
        BadInput: If the folder is neither, a picture is damaged, or a category keeps too few.
    """
    found, several = _found(folder, categories)
    clear = _Clearing.of(held_out, settings.hash_bits)
    paths = sorted({path for each in found.values() for path in each})
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes without the lock
        judged = dict(zip(paths, pool.map(clear.judge, paths), strict=True))
    told = {
        what: sum(verdict == what for verdict, _ in judged.values())
        for what in ("named", "same_pixels", "alike", "kept")
    }
    pictures = {
        name: tuple(path for path in found[name] if judged[path][0] == "kept")
        for name in categories
    }
    _refuse_few(folder, pictures, settings.fewest)
    lines = [f"{name} {p.name} {judged[p][1]}" for name, kept in pictures.items() for p in kept]
    return Pool(
        pictures,
        {"found": len(judged), "several_categories": several, **told},
        hashlib.sha256("\n".join(lines).encode()).hexdigest(),
    )


def check_folder(folder: Path, categories: Sequence[str], fewest: int) -> None:
    """Raise BadInput for a folder that no pool can come from; no picture is read.

    Args:
        folder: PASCAL VOC's, or a folder of folders.
        categories: Those of the labelled pairs.
        fewest: How many pictures a category must have.
    """
    _refuse_few(folder, _found(folder, categories)[0], fewest)


def balanced(pool: Pool, balance: str, draws: np.random.Generator) -> dict[str, list[Path]]:
    """Return as many pictures of every category, in random order.

    Args:
        pool: All pictures.
        balance: "fewest": as many as the smallest category has, the others' chosen at random;
            "oversample": as many as the largest has, the others' repeated.
        draws: Where the choice comes from.

    Raises:
        BadInput: If there is no such way.
    """
    if balance not in _BALANCES:
        raise BadInput(f"unlabelled.balance is {balance!r}; choose from {', '.join(_BALANCES)}")
    sizes = [len(paths) for paths in pool.pictures.values()]
    count = min(sizes) if balance == "fewest" else max(sizes)
    chosen: dict[str, list[Path]] = {}
    for name, paths in pool.pictures.items():
        rounds = -(-count // len(paths))
        order = np.concatenate([draws.permutation(len(paths)) for _ in range(rounds)])
        chosen[name] = [paths[index] for index in order[:count]]
    return chosen


def draw_pairs(
    pool: Pool, labelled: Dataset, settings: Unlabelled, count: int, draws: np.random.Generator
) -> list[UnlabelledPair]:
    """Return pairs of unlabelled pictures, and of an unlabelled and a labelled one.

    Categories take turns. Within one, pictures are used up before any comes again. Which of the
    two pictures comes first is drawn. Where the settings ask for it, some pairs are of two labelled
    pictures that no labelled pair joins; a category without such pictures has the other kinds.

    Args:
        pool: Pictures without labels.
        labelled: Whose pictures may stand on one side of a pair.
        settings: Balance, and the shares of pairs with one labelled picture and with two.
        count: Of pairs.
        draws: Where the choice comes from.
    """
    chosen = balanced(pool, settings.balance, draws)
    with_labels = pictures_by_category(labelled)
    names = list(chosen)
    unlabelled = {name: _endless(chosen[name], draws) for name in names}
    known = {name: _endless(with_labels[name], draws) for name in names}
    both = settings.both_labelled
    strangers = _not_joined(labelled) if both else {}
    apart = {name: _endless(each, draws) for name, each in strangers.items() if each}
    pairs = []
    for number in range(count):
        name = names[number % len(names)]
        if name in apart and draws.random() < both:
            one, two = apart[name]()
        else:
            one = unlabelled[name]()
            other = known[name] if draws.random() < settings.with_labelled else unlabelled[name]
            two = other()
            while two == one:
                two = other()
        ends = [one, two] if draws.random() < 1 / 2 else [two, one]
        label = "-".join(each.stem for each in ends)
        pairs.append(UnlabelledPair(f"{number:06}-{label}:{name}", *ends))
    return pairs


def pictures_by_category(dataset: Dataset) -> dict[str, tuple[Path, ...]]:
    """Return the files of a dataset's pictures by the category of the pairs they are in."""
    keys: dict[str, set[str]] = {}
    for column in (dataset.table.sources, dataset.table.targets):
        for name, key in zip(dataset.table.categories.tolist(), column.tolist(), strict=True):
            keys.setdefault(name, set()).add(key)
    return {name: tuple(dataset.path(key) for key in sorted(each)) for name, each in keys.items()}


def perceptual_hash(image: Image) -> NDArray[np.bool_]:
    """Return 256 bits that survive rescaling and recompression: where it brightens to the right.

    Two pictures are held to be one where few bits differ (a "difference hash").
    """
    small = PIL.Image.fromarray(image).convert("L")
    size = (_HASH_SIDE + 1, _HASH_SIDE)
    values = np.asarray(small.resize(size, PIL.Image.Resampling.BOX), dtype=np.int16)
    return np.asarray(np.diff(values, axis=1) > 0).ravel()


@dataclass(frozen=True, eq=False)
class _Clearing:
    """What tells whether a picture is held out."""

    names: frozenset[str]
    pixels: frozenset[str]
    looks: NDArray[np.bool_]  # (N, 256)
    bits: int

    @classmethod
    def of(cls, held_out: Sequence[Dataset], bits: int) -> "_Clearing":
        """Return that of some datasets."""
        paths = sorted({each.path(key) for each in held_out for key in each.table.image_keys})
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            both = list(pool.map(_both_hashes, paths))
        return cls(
            frozenset(path.stem for path in paths),
            frozenset(pixels for pixels, _ in both),
            np.array([look for _, look in both], dtype=bool).reshape(-1, _HASH_SIDE**2),
            bits,
        )

    def judge(self, path: Path) -> tuple[str, str]:
        """Return what becomes of a picture, and the hash of its pixels."""
        if path.stem in self.names:
            return "named", ""
        pixels, look = _both_hashes(path)
        if pixels in self.pixels:
            return "same_pixels", pixels
        apart = (self.looks != look).sum(axis=1)
        return ("alike" if (apart <= self.bits).any() else "kept"), pixels


def _both_hashes(path: Path) -> tuple[str, NDArray[np.bool_]]:
    """Return what identifies a picture's pixels, and its look."""
    image = read_image(path)
    return pixel_hash(image), perceptual_hash(image)


def _found(folder: Path, categories: Sequence[str]) -> tuple[dict[str, list[Path]], int]:
    """Return the pictures of each category, and how many pictures show several categories."""
    for root in (folder, folder / "VOC2012", folder / "VOCdevkit" / "VOC2012"):
        if (root / _LISTS).is_dir() and (root / "JPEGImages").is_dir():
            return _of_voc(root, categories)
    found = {
        name: sorted(path for path in (folder / name).iterdir() if path.suffix.lower() in _SUFFIXES)
        for name in categories
        if (folder / name).is_dir()
    }
    if not found:
        raise BadInput(
            f"--unlabelled {folder}: neither PASCAL VOC ({_LISTS}, JPEGImages) nor folders "
            f"named as categories: {', '.join(categories)}"
        )
    return {name: found.get(name, []) for name in categories}, 0


def _of_voc(root: Path, categories: Sequence[str]) -> tuple[dict[str, list[Path]], int]:
    """Return the pictures by VOC's classification lists.

    A picture of several categories is used only where its category has too few of its own: see
    `_single_first`. Objects marked as difficult (0) do not count.
    """
    listed: dict[str, list[str]] = {}
    for name in categories:
        path = root / _LISTS / f"{name}_trainval.txt"
        if not path.is_file():
            raise BadInput(f"--unlabelled: {path} is missing; complete PASCAL VOC 2012")
        rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
        listed[name] = sorted(row[0] for row in rows if len(row) == 2 and row[1] == "1")  # noqa: PLR2004 -- name and mark
    single, several = _single_first(listed)
    paths = {
        name: [root / "JPEGImages" / f"{stem}.jpg" for stem in stems]
        for name, stems in single.items()
    }
    return paths, several


def _single_first(listed: Mapping[str, Sequence[str]]) -> tuple[dict[str, list[str]], int]:
    """Return the names that show one category only, or all where a category has none such."""
    times: dict[str, int] = {}
    for stems in listed.values():
        for stem in stems:
            times[stem] = times.get(stem, 0) + 1
    single = {
        name: [stem for stem in stems if times[stem] == 1] or list(stems)
        for name, stems in listed.items()
    }
    return single, sum(count > 1 for count in times.values())


def _refuse_few(folder: Path, pictures: Mapping[str, Sequence[Path]], fewest: int) -> None:
    """Raise BadInput that names the categories which have too few pictures."""
    few = [f"{name} {len(paths)}" for name, paths in pictures.items() if len(paths) < fewest]
    if few:
        raise BadInput(
            f"--unlabelled {folder}: too few pictures of {', '.join(few)}; every category needs "
            f"{fewest} (unlabelled.fewest) after those of val and test were left out"
        )


def _not_joined(labelled: Dataset) -> dict[str, list[tuple[Path, Path]]]:
    """Return two pictures each of a category that no labelled pair joins, either way."""
    table = labelled.table
    joined = {
        frozenset(labelled.path(key) for key in ends)
        for ends in zip(table.sources.tolist(), table.targets.tolist(), strict=True)
    }
    return {
        name: [ends for ends in combinations(paths, 2) if frozenset(ends) not in joined]
        for name, paths in pictures_by_category(labelled).items()
    }


def _endless(items: Sequence[T], draws: np.random.Generator) -> Callable[[], T]:
    """Return what gives one item after the other, all of them before any comes again."""
    waiting: list[T] = []

    def following() -> T:
        if not waiting:
            waiting.extend(items[index] for index in draws.permutation(len(items)))
        return waiting.pop()

    return following
