"""Match pictures: where a pair's points were found, and where they should have been."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import PIL.Image
import PIL.ImageDraw
from numpy.typing import NDArray

from spairc.report.canvas import INK, PAPER, font, shortened
from spairc.types import BadInput, Image, Pair, Points, Size

RIGHT = (38, 190, 80)
WRONG = (230, 40, 40)
TRUTH = (255, 255, 255)
_SHADOW = (0, 0, 0)
_CONFIDENCE = ((68, 33, 253), (1, 145, 231), (84, 140, 37))  # red, green, blue at 0, 0.5, 1
_TALL = 480  # pixels: smaller pictures are magnified by a whole number to about this height
_GAP = 12  # pixels between source and target
_FINE = 4  # lines are drawn so much larger, then reduced: Pillow's own are jagged
_LETTERS = 18  # pixels


@dataclass(frozen=True, eq=False)
class _Layout:
    """Where source and target lie on the canvas."""

    zoom: int  # canvas pixels per picture pixel
    source: NDArray[np.int64]  # (2,) x, y of the top left corner on the canvas
    target: NDArray[np.int64]
    size: Size  # of the canvas, without the caption


def match_picture(
    source_image: Image,
    target_image: Image,
    pair: Pair,
    found: Points,
    *,
    alpha: float = 0.1,
    right: NDArray[np.bool_] | None = None,
    label: str = "",
) -> Image:
    """Return source and target side by side, each point joined to where it was found.

    Green discs are right, red crosses wrong: found within `alpha` times the longer side of the
    target's box, in original pixels (`PCK.frame` "original"), unless `right` tells by another
    measure. A thin white line leads from where a point was found to where it should have been.

    Args:
        source_image: The source as the matcher saw it: clean or corrupted.
        target_image: The target as the matcher saw it.
        pair: Points and boxes.
        found: (N, 2) the answers, in original pixels of the target; drawn at the border if
            outside.
        alpha: Tolerance, as a fraction of the box.
        right: (N,) which points are right, of a metric that was asked before.
        label: Stands before the count of right points in the caption, such as "fog@3".

    Raises:
        BadInput: If pictures and answers are not this pair's.
    """
    _check(source_image, target_image, pair, found)
    layout = _layout(pair.source_size, pair.target_size)
    canvas = _side_by_side(source_image, target_image, layout)
    right = _are_right(pair, found, alpha) if right is None else right
    lines = _lines(pair, found, right, layout)
    canvas.paste(lines, mask=lines)
    caption = f"{right.sum()} of {len(right)} points right"
    return _captioned(canvas, f"{label}: {caption}" if label else caption)


def label_picture(
    first_image: Image,
    second_image: Image,
    given: Points,
    found: Points,
    confidence: NDArray[np.float32],
    caption: str,
) -> Image:
    """Return two pictures side by side, places of the first joined to where they were found.

    The line's colour tells how confident the match is: dark violet for 0, yellow for 1.

    Args:
        first_image: Where the places are.
        second_image: Where they were searched; of any size, as the first.
        given: (N, 2) in pixels of the first.
        found: (N, 2) in pixels of the second; drawn at the border if outside.
        confidence: (N,) from 0 to 1; the more confident are drawn on top.
        caption: Stands below.
    """
    sizes = [Size(*image.shape[1::-1]) for image in (first_image, second_image)]
    layout = _layout(*sizes)
    canvas = _side_by_side(first_image, second_image, layout)
    size = (_FINE * layout.size.width, _FINE * layout.size.height)
    sheet = PIL.Image.new("RGBA", size, (*_SHADOW, 0))
    draw = PIL.ImageDraw.Draw(sheet)
    starts, ends = (
        _FINE * (corner + layout.zoom * (points + 0.5))
        for corner, points in (
            (layout.source, given),
            (layout.target, found.clip(0, np.array(sizes[1]) - 1)),
        )
    )
    for number in np.argsort(confidence, kind="stable"):
        colour = confidence_colour(float(confidence[number]))
        places = [tuple(each[number]) for each in (starts, ends)]
        draw.line((*places[0], *places[1]), fill=(*colour, 200), width=2 * _FINE)
        for place in places:
            draw.circle(place, 4 * _FINE, fill=colour, outline=TRUTH, width=_FINE)
    lines = sheet.resize(layout.size, PIL.Image.Resampling.BOX)
    canvas.paste(lines, mask=lines)
    return _captioned(canvas, caption)


def confidence_colour(confidence: float) -> tuple[int, int, int]:
    """Return the colour of a confidence from 0 to 1; it rises in lightness (after viridis)."""
    red, green, blue = (
        round(float(np.interp(confidence, (0, 0.5, 1), channel))) for channel in _CONFIDENCE
    )
    return red, green, blue


def stacked(images: Sequence[Image]) -> Image:
    """Return pictures below each other, at the left, on paper.

    Args:
        images: One or more.
    """
    width = max(image.shape[1] for image in images)
    rows = [
        np.pad(image, ((0, 0), (0, width - image.shape[1]), (0, 0)), constant_values=PAPER[0])
        for image in images
    ]
    return np.concatenate(rows)


def _side_by_side(source_image: Image, target_image: Image, layout: _Layout) -> PIL.Image.Image:
    """Return the canvas with both pictures on it."""
    canvas = PIL.Image.new("RGB", layout.size, PAPER)
    for image, corner in ((source_image, layout.source), (target_image, layout.target)):
        magnified = image.repeat(layout.zoom, axis=0).repeat(layout.zoom, axis=1)
        canvas.paste(PIL.Image.fromarray(magnified), (int(corner[0]), int(corner[1])))
    return canvas


def _check(source_image: Image, target_image: Image, pair: Pair, found: Points) -> None:
    """Raise BadInput if pictures and answers are not this pair's."""
    for image, size in ((source_image, pair.source_size), (target_image, pair.target_size)):
        if image.shape[1::-1] != tuple(size):
            raise BadInput(
                f"pair {pair.id}: a picture of {image.shape[1]} x {image.shape[0]} pixels was "
                f"given for one of {size.width} x {size.height}; give the pair's own"
            )
    if found.shape != pair.target_points.shape:
        raise BadInput(
            f"pair {pair.id}: {len(found)} answers were given for {len(pair.target_points)} "
            f"points; give one x, y for each"
        )


def _layout(source: Size, target: Size) -> _Layout:
    """Return where the pictures go: side by side, each in the middle of the height."""
    tallest = max(source.height, target.height)
    zoom = max(1, round(_TALL / tallest))
    source_top = zoom * (tallest - source.height) // 2
    target_top = zoom * (tallest - target.height) // 2
    target_left = zoom * source.width + _GAP
    width = target_left + zoom * target.width
    return _Layout(
        zoom=zoom,
        source=np.array([0, source_top]),
        target=np.array([target_left, target_top]),
        size=Size(width, zoom * tallest),
    )


def _are_right(pair: Pair, found: Points, alpha: float) -> NDArray[np.bool_]:
    """(N,) whether each point was found; exactly at the tolerance counts."""
    box = pair.target_box
    tolerance = alpha * max(box.right - box.left, box.bottom - box.top)
    distances = np.linalg.norm(found - pair.target_points, axis=1)
    return np.asarray(distances <= tolerance)


def _lines(pair: Pair, found: Points, right: NDArray[np.bool_], layout: _Layout) -> PIL.Image.Image:
    """Return the points and lines, RGBA, on nothing."""
    size = (_FINE * layout.size.width, _FINE * layout.size.height)
    sheet = PIL.Image.new("RGBA", size, (*_SHADOW, 0))
    draw = PIL.ImageDraw.Draw(sheet)
    inside = found.clip(0, np.array(pair.target_size) - 1)
    starts, ends, truths = (
        _FINE * (corner + layout.zoom * (points + 0.5))
        for corner, points in (
            (layout.source, pair.source_points),
            (layout.target, inside),
            (layout.target, pair.target_points),
        )
    )
    order = np.argsort(right, kind="stable")  # the wrong ones first: right ones on top
    for number in order:
        start, end = (tuple(each[number]) for each in (starts, ends))
        draw.line((*start, *end), fill=(*_colour(right[number]), 200), width=2 * _FINE)
    for number in order:
        end, truth = (tuple(each[number]) for each in (ends, truths))
        draw.line((*end, *truth), fill=_SHADOW, width=3 * _FINE)
        draw.line((*end, *truth), fill=TRUTH, width=_FINE)
        draw.circle(truth, 3 * _FINE, fill=TRUTH, outline=_SHADOW, width=_FINE)
    for number in order:
        for place in (starts[number], ends[number]):
            _mark(draw, place, right[number])
    return sheet.resize(layout.size, PIL.Image.Resampling.BOX)


def _mark(draw: PIL.ImageDraw.ImageDraw, place: Points, found: np.bool_) -> None:
    """Draw a disc where a point is right and a cross where it is wrong, with a white rim."""
    if found:
        draw.circle(tuple(place), 6 * _FINE, fill=RIGHT, outline=TRUTH, width=_FINE)
        return
    for reach, width, colour in ((6.5, 6, TRUTH), (5.5, 4, WRONG)):
        for end in (np.array([reach, reach]), np.array([reach, -reach])):
            low, high = place - end * _FINE, place + end * _FINE
            draw.line((*low, *high), fill=colour, width=width * _FINE)


def _colour(found: np.bool_) -> tuple[int, int, int]:
    """Return the colour of a point that was found, or was not."""
    return RIGHT if found else WRONG


def _captioned(canvas: PIL.Image.Image, caption: str) -> Image:
    """Return the canvas with a line of text below it."""
    face = font(_LETTERS)
    whole = PIL.Image.new("RGB", (canvas.width, canvas.height + 2 * _LETTERS), PAPER)
    whole.paste(canvas, (0, 0))
    text = shortened(caption, face, canvas.width)
    middle = (canvas.width / 2, canvas.height + _LETTERS)
    PIL.ImageDraw.Draw(whole).text(middle, text, font=face, fill=INK, anchor="mm")
    return np.array(whole)
