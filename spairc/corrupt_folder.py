"""The corruptions for any pictures: a plain folder on disk, or a batch in memory."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import PIL.Image

from spairc.build import Options, Originals, Watch, build_set
from spairc.corruptions import corrupt
from spairc.datasets.folder import normal, without_suffix
from spairc.engine import Engine, Here
from spairc.images import SMALLEST, pixel_hash, read_image
from spairc.types import BadInput, Condition, Image


def corrupt_folder(
    originals: Originals,
    out: Path,
    conditions: Sequence[Condition],
    options: Options | None = None,
    *,
    engine: Engine | None = None,
    watch: Watch = lambda _: None,
) -> Path:
    """Write the corrupted pictures of a folder into `out`; return the manifest.

    `out/fog/3/` holds what the folder holds, corrupted. What is complete is kept.

    Args:
        originals: What `pictures_of` found in the folder.
        out: The folder to make or to complete; not inside the other.
        conditions: What to do to the pictures.
        options: How they are written.
        engine: Where they are made; in this process if not given.
        watch: Called with a picture's key after each.

    Raises:
        BadInput: As `spairc.build.build`, or if one folder lies inside the other.
    """
    options = options or Options()
    options.check()
    if out.resolve().is_relative_to(originals.root.resolve()):
        raise BadInput(f"{out} is inside {originals.root}; choose another --out")
    return build_set(originals, out, conditions, options, engine=engine or Here(), watch=watch)


def pictures_of(folder: Path) -> Originals:
    """Return the pictures in a folder and all below it, each of them decoded once.

    A picture's key, which fixes its random numbers, is its path below the folder without the
    suffix, "/" between its parts, in Unicode NFC.

    Raises:
        BadInput: If there are none, two have one key, or one is damaged or smaller than 32 x 32.
    """
    found: dict[str, str] = {}
    for name in _picture_names(folder):
        key = normal(without_suffix(name))
        if key in found:
            raise BadInput(f"{folder}: {found[key]} and {name} have one key, {key}; rename one")
        found[key] = name
    if not found:
        raise BadInput(f"{folder} holds no pictures; give a folder of pictures")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        hashes = pool.map(lambda name: _checked_hash(folder / name), found.values())
        by_key = dict(zip(found, hashes, strict=True))
    name = folder.absolute().name
    return Originals(name, "", "", root=folder.absolute(), pictures=found, hashes=by_key)


def corrupt_batch(
    images: Sequence[Image],
    corruption: str,
    *,
    severity: int,
    keys: Sequence[str],
    threads: int | None = None,
) -> list[Image]:
    """Return corrupted copies of several pictures, in their order, made by several threads.

    Each is what `spairc.corrupt` makes of it, so batches may be cut in any way.

    Args:
        images: Pictures of any sizes; an array (N, H, W, 3) is one too.
        corruption: One of `spairc.CORRUPTIONS`.
        severity: 1 to 5.
        keys: Names the pictures, one each: a name that came twice would bring the same noise.
        threads: How many; None for one per core.

    Raises:
        BadInput: If there is no such corruption or severity, a picture is none, or there is not
            one key of its own for each.
    """
    if len(keys) != len(images) or len(set(keys)) != len(keys):
        raise BadInput(
            f"{len(images)} pictures and {len(set(keys))} different keys; give each its own"
        )
    if threads is not None and threads < 1:
        raise BadInput(f"threads is {threads}; give 1 or more")
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        made = [
            pool.submit(corrupt, image, corruption, severity=severity, key=key)
            for image, key in zip(images, keys, strict=True)
        ]
        return [each.result() for each in made]


def _picture_names(folder: Path) -> list[str]:
    """Return the pictures below a folder, as paths relative to it, in their order."""
    if not folder.is_dir():
        state = "is a file" if folder.exists() else "does not exist"
        raise BadInput(f"{folder} {state}; give a folder of pictures")
    suffixes = PIL.Image.registered_extensions()
    names: list[str] = []
    for place, folders, files in os.walk(folder):
        folders[:] = [each for each in folders if not each.startswith(".")]
        below = Path(place).relative_to(folder)
        shown = (file for file in files if not file.startswith("."))
        names += [(below / n).as_posix() for n in shown if Path(n).suffix.lower() in suffixes]
    return sorted(names)


def _checked_hash(path: Path) -> str:
    """Return the hash of a picture's pixels, if it can be corrupted."""
    image = read_image(path)
    height, width = image.shape[:2]
    if min(height, width) < SMALLEST:
        raise BadInput(
            f"picture {path} is {width} x {height}; spairc needs {SMALLEST} x {SMALLEST}; "
            f"take it out of the folder"
        )
    return pixel_hash(image)
