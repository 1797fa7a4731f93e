"""What sheets and match pictures are drawn with: lettering, cells and the file they end in."""

from functools import cache
from importlib.resources import as_file, files
from io import BytesIO
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from spairc.files import written_whole
from spairc.types import BadInput, Image

PAPER = (255, 255, 255)
INK = (34, 34, 34)
# Told apart by readers with any of the common colour deficiencies (Okabe and Ito, 2008).
GROUP_COLOURS = {
    "noise": (0, 114, 178),
    "blur": (213, 94, 0),
    "weather": (0, 138, 100),
    "digital": (184, 92, 148),
}
_TRIAL = PIL.Image.new("RGB", (300, 400))  # larger than an icon may be


@cache
def font(size: int) -> PIL.ImageFont.FreeTypeFont:
    """Return the face that matplotlib brings along, at a size in pixels.

    The plain layout engine draws the same letters whatever libraries a machine has.
    """
    face = files("matplotlib") / "mpl-data/fonts/ttf/DejaVuSans.ttf"
    with as_file(face) as path:
        return PIL.ImageFont.truetype(path, size, layout_engine=PIL.ImageFont.Layout.BASIC)


def shortened(text: str, face: PIL.ImageFont.FreeTypeFont, width: float) -> str:
    """Return the text, its end replaced by an ellipsis if it is wider than so many pixels."""
    if face.getlength(text) <= width:
        return text
    while text and face.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"


def fitted(image: Image, side: int) -> Image:
    """Return the picture with its longer side at most so long; a smaller one is left alone."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.array(PIL.Image.fromarray(image).resize(size, PIL.Image.Resampling.LANCZOS))


def check_picture_path(path: Path) -> None:
    """Raise BadInput unless a picture of any size can be written in the format of the suffix."""
    if not _can_write(PIL.Image.registered_extensions().get(path.suffix.lower(), "")):
        raise BadInput(
            f"no picture can be written to {path}: its name must end in .png, .jpg, .webp, .pdf "
            f"or another suffix of a format that Pillow writes"
        )


def save_picture(path: Path, image: Image) -> None:
    """Write the picture in the format that the suffix names, whole or not at all.

    Raises:
        BadInput: If there is no such format, no space or no permission.
    """
    check_picture_path(path)
    kind = PIL.Image.registered_extensions()[path.suffix.lower()]
    with written_whole(path) as temporary, temporary.open("wb") as file:
        if kind == "JPEG":
            PIL.Image.fromarray(image).save(file, format=kind, quality=95, subsampling=0)
        else:
            PIL.Image.fromarray(image).save(file, format=kind)


def _can_write(kind: str) -> bool:
    """Return whether Pillow writes a large colour picture in this format, at its full size."""
    if kind not in PIL.Image.SAVE:
        return False
    buffer = BytesIO()
    try:
        _TRIAL.save(buffer, format=kind)
        return PIL.Image.open(buffer).size == _TRIAL.size
    except PIL.UnidentifiedImageError:
        return True  # PDF and the like, which Pillow writes but does not read
    except (OSError, ValueError):  # the format has no colour, or Pillow no program for it
        return False
