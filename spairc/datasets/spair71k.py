"""SPair-71k (Min et al., 2019): 70,958 pairs of 1,800 pictures in 18 categories.

    SPair-71k/Layout/large/test.txt                        which pairs, in which order
    SPair-71k/PairAnnotation/test/000001-a-b:car.json      points, boxes, sizes, difficulty
    SPair-71k/ImageAnnotation/car/a.json                   one picture's own points
    SPair-71k/JPEGImages/car/a.jpg

File systems that allow no colon made unpackers put "-", "_", nothing or U+F03A in its place; all
of these are found. A data set of one's own in this layout is read alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from spairc.datasets import values
from spairc.datasets.check import are_boxes, check_table, in_picture
from spairc.datasets.dataset import Dataset
from spairc.datasets.folder import (
    file_names,
    find_pictures,
    home,
    needed_pictures,
    normal,
    without_suffix,
)
from spairc.datasets.index import cached_table
from spairc.files import inside
from spairc.pairs import PairTable, table_of
from spairc.types import BadInput, Box, Pair, Size, Variation

_COLONS = (":", "-", "_", "", "\uf03a")
_ANNOTATIONS = ("PairAnnotation", "ImageAnnotation", "Layout")
_REMEDY = "fetch SPair-71k with: spairc download spair71k --to DIR"


@dataclass(frozen=True)
class ImageAnnotation:
    """What SPair-71k tells of one picture, apart from any pair."""

    key: str  # "car/2008_000033"
    category: str
    size: Size
    box: Box
    points: Mapping[str, tuple[float, float]]  # visible ones, by id: "0" to "29"
    pose: str  # of the camera: "Left", "Frontal", "Unspecified", ...
    azimuth: int  # eighths of a turn, 0 to 7
    truncated: bool
    occluded: bool
    difficult: bool


def load(root: Path, split: str, layout: str) -> Dataset:
    """Return the pairs of one split, in the order of its layout file.

    Args:
        root: The folder that holds Layout, PairAnnotation and JPEGImages, or the one above it.
        split: "trn", "val" or "test".
        layout: "large", or "small": about a fifth of the pairs.

    Raises:
        BadInput: If a file is missing, is no such annotation or tells what cannot be; the message
            names it.
    """
    folder = _home(root)
    listing = f"Layout/{layout}/{split}.txt"
    identities = _identities(folder / listing)
    files = _annotation_files(folder, split, identities, listing)
    table = cached_table(
        f"spair71k-{split}-{layout}",
        folder,
        [listing, *files],
        lambda: _parse(folder, identities, files),
    )
    named = {
        key: f"{folder}/{name}"
        for keys in (table.sources, table.targets)
        for key, name in zip(keys.tolist(), files, strict=True)
    }
    found = find_pictures(folder / "JPEGImages")
    needed = needed_pictures(named, found, folder / "JPEGImages")
    return Dataset(
        name="spair71k",
        root=folder,
        split=split,
        layout=layout,
        table=table,
        pictures={key: f"JPEGImages/{name}" for key, name in needed.items()},
        annotations=tuple(each for each in _ANNOTATIONS if (folder / each).exists()),
    )


def image_annotation(root: Path, key: str) -> ImageAnnotation:
    """Return what the dataset tells of one picture.

    Args:
        root: As for `load`.
        key: The picture's image key: "car/2008_000033".

    Raises:
        BadInput: If there is no such annotation, or it is none.
    """
    wanted = inside(_home(root) / "ImageAnnotation", f"{normal(key)}.json", where="image key")
    name = file_names(wanted.parent).get(wanted.name)
    if name is None:
        raise BadInput(f"annotation {wanted} is missing; add it or correct the image key {key!r}")
    path = wanted.with_name(name)
    record = values.read_record(path)
    try:
        found = _image_annotation(record, key)
    except BadInput as error:
        raise BadInput(f"annotation {path}: {error}; correct it or fetch it again") from None
    return found


def _home(root: Path) -> Path:
    """Return the folder that holds Layout: `root` or SPair-71k below it."""
    folder = home(root, ["SPair-71k"], ["Layout"])
    if folder is None:
        raise BadInput(f"{root} holds no Layout folder, so it is no SPair-71k; {_REMEDY}")
    return folder


def _identities(listing: Path) -> list[str]:
    """Return the pairs' names from a layout file."""
    if not listing.is_file():
        raise BadInput(f"pair list {listing} is missing; {_REMEDY}")
    try:
        lines = listing.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"pair list {listing} cannot be read ({error}); {_REMEDY}") from error
    identities = [normal(line.strip()) for line in lines if line.strip()]
    if not identities:
        raise BadInput(f"pair list {listing} is empty; {_REMEDY}")
    if len(set(identities)) < len(identities):
        twice = next(each for each in identities if identities.count(each) > 1)
        raise BadInput(f"pair list {listing} names {twice} twice; remove one")
    return identities


def _annotation_files(
    folder: Path, split: str, identities: Sequence[str], listing: str
) -> list[str]:
    """Return each pair's annotation file, below `folder`."""
    place = f"PairAnnotation/{split}"
    present = file_names(folder / place)
    files = []
    for identity in identities:
        candidates = (f"{identity.replace(':', colon)}.json" for colon in _COLONS)
        found = next((present[each] for each in candidates if each in present), None)
        if found is None:
            missing = inside(folder / place, f"{identity}.json", where=folder / listing)
            raise BadInput(f"annotation {missing} is missing; {_REMEDY}")
        files.append(f"{place}/{found}")
    return files


def _parse(folder: Path, identities: Sequence[str], files: Sequence[str]) -> PairTable:
    """Return the pairs that the annotation files tell of."""
    paths = [f"{folder}/{name}" for name in files]
    pairs = []
    with values.many_objects():
        for identity, path in zip(identities, paths, strict=True):
            record = values.read_record(path)
            try:
                pairs.append(_pair(record, identity))
            except BadInput as error:
                raise BadInput(
                    f"annotation {path}: {error}; correct it or fetch it again"
                ) from None
    table = table_of(pairs)
    check_table(table, paths)
    return table


def _pair(record: Mapping[str, Any], identity: str) -> Pair:
    """Return the pair of one annotation; its complaints do not name the file."""
    category, source, target = _names(record, identity)
    source_points = values.points(record, "src_kps")
    target_points = values.points(record, "trg_kps")
    if len(source_points) != len(target_points):
        raise BadInput(
            f"src_kps has {len(source_points)} points and trg_kps {len(target_points)}; "
            f"each point needs its partner"
        )
    return Pair(
        id=identity,
        category=category,
        source=source,
        target=target,
        source_points=source_points,
        target_points=target_points,
        source_box=values.box(record, "src_bndbox"),
        target_box=values.box(record, "trg_bndbox"),
        source_size=values.size(record, "src_imsize"),
        target_size=values.size(record, "trg_imsize"),
        variation=Variation(
            viewpoint=values.whole(record, "viewpoint_variation", range(-1, 3)),
            scale=values.whole(record, "scale_variation", range(-1, 3)),
            truncation=values.whole(record, "truncation", range(-1, 4)),
            occlusion=values.whole(record, "occlusion", range(-1, 4)),
        ),
    )


def _names(record: Mapping[str, Any], identity: str) -> tuple[str, str, str]:
    """Return category, source key and target key.

    The pair's name tells all three as well. Published programs go by it, so it has to agree.
    """
    category = normal(values.text(record, "category"))
    source = without_suffix(normal(values.text(record, "src_imname")))
    target = without_suffix(normal(values.text(record, "trg_imname")))
    for name in (category, source, target):
        if "/" in name or "\\" in name:
            raise BadInput(f"the name {name!r} leaves its folder")
    ending = f"-{source}-{target}:{category}"
    if not identity.endswith(ending):
        raise BadInput(
            f"src_imname, trg_imname and category make {ending!r}, which is not what the pair is "
            f"called"
        )
    return category, f"{category}/{source}", f"{category}/{target}"


def _image_annotation(record: Mapping[str, Any], key: str) -> ImageAnnotation:
    """Return what a record tells; its complaints do not name the file."""
    kps = record.get("kps")
    if not isinstance(kps, dict):
        raise BadInput("kps is not points by their id")
    visible = {name: values.points({name: [kps[name]]}, name)[0] for name in kps if kps[name]}
    size = values.checked_size(
        record.get("image_width"), record.get("image_height"), "image_width, image_height"
    )
    box = values.box(record, "bndbox")
    for name, (x, y) in visible.items():
        if not in_picture(np.array([[x, y]]), np.array(size))[0]:
            raise BadInput(
                f"point {name} at ({x:g}, {y:g}) is not in its picture, "
                f"{size.width} x {size.height}"
            )
    if not are_boxes(np.array([box]))[0]:
        raise BadInput(f"bndbox is {[*box]}, not left, top, right, bottom")
    return ImageAnnotation(
        key=normal(key),
        category=values.text(record, "category"),
        size=size,
        box=box,
        points=MappingProxyType({name: (float(x), float(y)) for name, (x, y) in visible.items()}),
        pose=values.text(record, "pose"),
        azimuth=values.whole(record, "azimuth_id", range(8)),
        truncated=bool(values.whole(record, "truncated", (0, 1))),
        occluded=bool(values.whole(record, "occluded", (0, 1))),
        difficult=bool(values.whole(record, "difficult", (0, 1))),
    )
