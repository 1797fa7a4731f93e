"""Pictures in and out of files.

Pillow reads them, as every published loader of the field does; an EXIF orientation is *not*
applied, because SPair-71k's annotations are in the stored pixels' frame.
"""

import hashlib
import io
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import PIL.Image

from spairc.files import written_whole
from spairc.types import BadInput, Image, Size

SMALLEST = 32  # pixels a side: below that, blurs and pixelation are wider than the picture
LARGEST = 100_000_000  # pixels: a header that claims more is refused before it is decoded


def read_image(path: Path) -> Image:
    """Return the picture as (H, W, 3) uint8 RGB.

    Grey, palette and CMYK pictures are converted; 16-bit ones keep their upper 8 bits;
    transparency is dropped.

    Raises:
        BadInput: If the file is missing, cut short, no picture, or claims an absurd size.
    """
    return _decoded(path, path)


def decode_image(data: bytes, path: Path) -> Image:
    """Return the picture as `read_image` does, from the bytes of a file.

    Args:
        data: All bytes of the file.
        path: Its name, for messages.

    Raises:
        BadInput: If the bytes are cut short, no picture, or claim an absurd size.
    """
    return _decoded(io.BytesIO(data), path)


def image_size(path: Path) -> Size:
    """Return width and height from the file's header.

    Raises:
        BadInput: As `read_image`, as far as the header tells.
    """
    with _opened(path, path) as picture:
        return Size(*picture.size)


def write_png(path: Path, image: Image) -> None:
    """Write a lossless PNG, whole or not at all.

    Raises:
        BadInput: If there is no space or no permission.
    """
    with written_whole(path) as temporary, temporary.open("wb") as file:
        PIL.Image.fromarray(image).save(file, format="PNG", compress_level=3)


def pixel_hash(image: Image) -> str:
    """Return the picture's identity: SHA-256 of its size and pixels, whatever the container."""
    digest = hashlib.sha256(f"{image.shape[0]} {image.shape[1]} ".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def joint_hash(hashes: Mapping[str, str]) -> str:
    """Return one identity for many pictures: SHA-256 over image keys and pixel hashes."""
    listed = "\n".join(f"{key} {hashes[key]}" for key in sorted(hashes))
    return hashlib.sha256(listed.encode()).hexdigest()


def _decoded(source: Path | io.BytesIO, path: Path) -> Image:
    """Return the pixels of a file or of a file's bytes."""
    with _opened(source, path) as picture:
        try:
            if picture.mode.startswith("I"):  # 16 bits a pixel; Pillow would clip it at 255
                grey = np.asarray(picture, dtype=np.int64) >> 8
                return np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
            return np.array(picture.convert("RGB"))
        except (OSError, ValueError, SyntaxError) as error:
            raise BadInput(f"picture {path} cannot be read ({error}); fetch it again") from error


def _opened(source: Path | io.BytesIO, path: Path) -> PIL.Image.Image:
    """Return the picture, header read, pixels not yet decoded."""
    try:
        with warnings.catch_warnings():
            # Our own limit below is the one that counts.
            warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
            picture = PIL.Image.open(source)
    except FileNotFoundError:
        raise BadInput(f"picture {path} is missing; complete the dataset") from None
    except (OSError, PIL.Image.DecompressionBombError) as error:
        raise BadInput(f"picture {path} cannot be read ({error}); fetch it again") from error
    width, height = picture.size
    if width * height > LARGEST:
        picture.close()
        raise BadInput(f"picture {path} claims {width} x {height} pixels; fetch it again")
    return picture
