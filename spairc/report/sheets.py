"""Contact sheets: one picture under all corruptions, and under all severities.

Figures A and B of the supplement of "Match me if you can" (ACCV 2024), of any picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw

from spairc.corruptions import CORRUPTIONS, corrupt
from spairc.lookup import lookup
from spairc.report.canvas import (
    GROUP_COLOURS,
    INK,
    PAPER,
    check_picture_path,
    fitted,
    font,
    save_picture,
    shortened,
)
from spairc.spec import CORRUPTION_NAMES, GROUPS, SEVERITIES, VERSION, check_severity
from spairc.types import BadInput, Image

_TYPES_SIDE = 512  # pixels of a cell's longer side; larger pictures are reduced
_SEVERITIES_SIDE = 320
_TYPES_ACROSS = 4  # 16 cells: the clean picture and 15 types
_GAP = 10  # pixels between cells
_MARGIN = 18  # pixels around the sheet
_BAR = 5  # pixels: the line in the group's colour
_LETTERS = (15, 30)  # pixels: the smallest and the largest lettering
_COLOUR_OF = {name: GROUP_COLOURS[group] for group, names in GROUPS.items() for name in names}


@dataclass(frozen=True)
class _Cell:
    """A picture with its name below it."""

    image: Image
    label: str
    colour: tuple[int, int, int] = INK


def sheet_of_types(image: Image, key: str, severity: int = 3) -> Image:
    """Return the clean picture and all corruptions at one severity, group by group.

    Each cell holds the very pixels that the benchmark would show to a matcher, or those reduced
    if the picture is larger than a cell.

    Args:
        image: The clean picture.
        key: Its image key: it fixes the random numbers, and stands in the title.
        severity: 1 to 5.

    Raises:
        BadInput: If there is no such severity, or the picture cannot be corrupted.
    """
    check_severity(severity)
    cells = [_Cell(fitted(image, _TYPES_SIDE), "clean")]
    for name in CORRUPTION_NAMES:
        picture = corrupt(image, name, severity=severity, key=key)
        cells.append(_Cell(fitted(picture, _TYPES_SIDE), name, _COLOUR_OF[name]))
    return _grid(cells, _TYPES_ACROSS, f"{key}, severity {severity} ({VERSION})")


def sheet_of_severities(
    image: Image, key: str, corruptions: Sequence[str] = CORRUPTION_NAMES
) -> Image:
    """Return a row per corruption: the clean picture, then severities 1 to 5.

    Args:
        image: The clean picture.
        key: Its image key: it fixes the random numbers, and stands in the title.
        corruptions: Which rows, from top to bottom.

    Raises:
        BadInput: If there is no such corruption or none was asked for, or the picture cannot be
            corrupted.
    """
    if not corruptions:
        raise BadInput(f"no corruption was named; choose from {', '.join(CORRUPTIONS)}")
    for name in corruptions:
        lookup(CORRUPTIONS, name, "corruption")
    cells = []
    for name in corruptions:
        cells.append(_Cell(fitted(image, _SEVERITIES_SIDE), "clean"))
        for severity in SEVERITIES:
            picture = fitted(corrupt(image, name, severity=severity, key=key), _SEVERITIES_SIDE)
            cells.append(_Cell(picture, f"{name}@{severity}", _COLOUR_OF[name]))
    return _grid(cells, 1 + len(SEVERITIES), f"{key} ({VERSION})")


def save_sheet(path: Path, sheet: Image) -> None:
    """Write a sheet in the format that the suffix names, whole or not at all.

    Raises:
        BadInput: If there is no such format, no space or no permission.
    """
    save_picture(path, sheet)


def check_sheet_path(path: Path) -> None:
    """Raise BadInput unless a sheet can be written in the format of the suffix.

    To be asked before a sheet is drawn, which takes seconds.
    """
    check_picture_path(path)


def _grid(cells: Sequence[_Cell], across: int, title: str) -> Image:
    """Return cells of one size in rows, below a title and a key of the groups' colours."""
    height, width = cells[0].image.shape[:2]
    letters = int(np.clip(width / 14, *_LETTERS))
    face = font(letters)
    wide = max(width, *(round(face.getlength(cell.label)) for cell in cells)) + _GAP
    tall = height + _BAR + round(1.6 * letters) + _GAP
    head = round(2.2 * letters)
    down = len(cells) // across
    size = (2 * _MARGIN + across * wide - _GAP, _MARGIN + head + down * tall)
    sheet = PIL.Image.new("RGB", size, PAPER)
    draw = PIL.ImageDraw.Draw(sheet)
    _head(draw, title, letters, size[0])
    for number, cell in enumerate(cells):
        row, column = divmod(number, across)
        left = _MARGIN + column * wide + (wide - _GAP - width) // 2
        top = _MARGIN + head + row * tall
        sheet.paste(PIL.Image.fromarray(cell.image), (left, top))
        bottom = top + height
        draw.rectangle((left, bottom, left + width - 1, bottom + _BAR - 1), fill=cell.colour)
        middle = (left + width / 2, bottom + _BAR + 0.8 * letters)
        draw.text(middle, cell.label, font=face, fill=INK, anchor="mm")
    return np.array(sheet)


def _head(draw: PIL.ImageDraw.ImageDraw, title: str, letters: int, width: int) -> None:
    """Draw the title, and the groups' names in their colours at the right."""
    face, line = font(letters), _MARGIN + 0.6 * letters
    right = float(width - _MARGIN)
    for group, colour in reversed(GROUP_COLOURS.items()):
        draw.text((right, line), group, font=face, fill=colour, anchor="rm")
        right -= face.getlength(group) + letters
    room = right - _MARGIN
    draw.text((_MARGIN, line), shortened(title, face, room), font=face, fill=INK, anchor="lm")
