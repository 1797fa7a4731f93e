"""The demonstration set: real photographs, warped so that every keypoint is known exactly.

The photographs ship inside scikit-image and matplotlib; each is seen in several views, and all
ordered pairs of the views of one thing are a pair. The motorcycle is a stereo pair: its points go
from the left photograph to the right one by the measured disparity. The set has SPair-71k's own
layout, so it is read, corrupted and scored as SPair-71k is.

To add a category, add its photograph in `photographs` and its views in `views`.
"""

import hashlib
import json
from collections.abc import Mapping
from io import BytesIO
from itertools import permutations
from os import PathLike
from pathlib import Path

import PIL.Image

from spairc.demo.annotations import image_annotation, pair_annotation, pictures_of
from spairc.demo.photographs import PHOTOGRAPHS
from spairc.demo.views import VIEWS
from spairc.files import make_folder, written_whole
from spairc.types import BadInput, Image

_README = "README.txt"  # written first: it claims the folder
_SUMS = "SHA256SUMS"  # written last: a set without it is half made
_TITLE = "spairc demonstration set"
_TEXT = (
    f"{_TITLE}, version 1\n\n"
    "Made by `spairc demo` in SPair-71k's layout, to try the benchmark out. Its scores compare\n"
    "with one another, and with no published number. The pictures are warped views of these\n"
    "photographs and stand under their terms:\n\n"
)


def make_demo_set(folder: str | PathLike[str]) -> Path:
    """Return the folder, which now holds the demonstration set in SPair-71k's layout.

    A complete set is left as it is; one that is half made, damaged or of another version is made
    again. The same pixels and annotations come out every time.

    Raises:
        BadInput: If the folder holds something else, or cannot be written.
    """
    folder = make_folder(Path(folder).expanduser())
    _refuse_what_is_not_ours(folder)
    if _is_complete(folder):
        return folder
    contents = {_README: _readme(), **_contents()}
    sums = [f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in contents.items()]
    for name, data in {**contents, _SUMS: "".join(sums).encode()}.items():
        with written_whole(folder / name) as temporary:
            temporary.write_bytes(data)
    return folder


def _refuse_what_is_not_ours(folder: Path) -> None:
    """Raise BadInput if the folder holds anything but a demonstration set, whole or in part."""
    readme = folder / _README
    if readme.is_file() and readme.read_bytes().startswith(_TITLE.encode()):
        return
    if any(not entry.name.startswith(".") for entry in folder.iterdir()):
        raise BadInput(f"{folder} holds other files; give the demonstration set an empty folder")


def _is_complete(folder: Path) -> bool:
    """Return whether every file of this version's set is there with the bytes it was given."""
    readme, sums = folder / _README, folder / _SUMS
    if not (readme.is_file() and readme.read_bytes() == _readme() and sums.is_file()):
        return False
    for line in sums.read_text(encoding="utf-8", errors="replace").splitlines():
        digest, _, name = line.partition("  ")
        file = folder / name
        if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != digest:
            return False
    return True


def _contents() -> dict[str, bytes]:
    """Return the bytes of pictures, annotations and lists by file name."""
    contents: dict[str, bytes] = {}
    pictures = [each for category, views in VIEWS.items() for each in pictures_of(category, views)]
    for picture in pictures:
        name = f"{picture.category}/{picture.name}"
        contents[f"JPEGImages/{name}.png"] = _png(picture.image)
        contents[f"ImageAnnotation/{name}.json"] = _json(image_annotation(picture))
    layouts: dict[str, str] = {"large": "", "small": ""}
    pairs = [each for each in permutations(pictures, 2) if each[0].category == each[1].category]
    for number, pair in enumerate(pairs):
        annotation = pair_annotation(number, *pair)
        contents[f"PairAnnotation/test/{annotation['filename']}.json"] = _json(annotation)
        layouts["large"] += f"{annotation['filename']}\n"
        if max(picture.number for picture in pair) == 1:  # small: the first two views alone
            layouts["small"] += f"{annotation['filename']}\n"
    for layout, names in layouts.items():
        contents[f"Layout/{layout}/test.txt"] = names.encode()
    return contents


def _json(annotation: Mapping[str, object]) -> bytes:
    """Return the annotation as a JSON file."""
    return json.dumps(annotation).encode()


def _png(image: Image) -> bytes:
    """Return the picture as a PNG file: lossless, so that every machine reads the same pixels."""
    buffer = BytesIO()
    PIL.Image.fromarray(image).save(buffer, format="PNG", compress_level=3)
    return buffer.getvalue()


def _readme() -> bytes:
    """Return what the set says about itself, and where its photographs come from."""
    sources = [
        f"- {name}: {photograph.credit}; {photograph.path} in the package {photograph.package}\n"
        for name, photograph in PHOTOGRAPHS.items()
    ]
    return (_TEXT + "".join(sources)).encode()
