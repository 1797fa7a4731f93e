"""Contact sheets and match pictures: the pixels that they show are the right ones."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from spairc.corruptions import corrupt
from spairc.report.canvas import GROUP_COLOURS, fitted, font, shortened
from spairc.report.matches import (
    RIGHT,
    TRUTH,
    WRONG,
    confidence_colour,
    label_picture,
    match_picture,
    stacked,
)
from spairc.report.sheets import (
    check_sheet_path,
    save_sheet,
    sheet_of_severities,
    sheet_of_types,
)
from spairc.spec import CORRUPTION_NAMES, GROUPS, SEVERITIES
from spairc.types import BadInput, Box, Image, Pair, Points, Size

KEY = "car/a"


def picture(width: int = 61, height: int = 40) -> Image:
    """Coarse patches of colour with a little grain: every region differs from every other."""
    draws = np.random.default_rng(7)
    coarse = PIL.Image.fromarray(draws.integers(0, 256, (7, 9, 3)).astype(np.uint8))
    smooth = np.asarray(coarse.resize((width, height), PIL.Image.Resampling.BICUBIC), dtype=int)
    return (smooth + draws.integers(-9, 10, smooth.shape)).clip(0, 255).astype(np.uint8)


def places(sheet: Image, cell: Image) -> list[tuple[int, int]]:
    """(row, column) of every place where the sheet shows exactly these pixels."""
    height, width = cell.shape[:2]
    first = (sheet[: -height + 1, : -width + 1] == cell[0, 0]).all(axis=2)
    return [
        (int(row), int(column))
        for row, column in np.argwhere(first)
        if np.array_equal(sheet[row : row + height, column : column + width], cell)
    ]


def corrupted(name: str, severity: int) -> Image:
    return corrupt(picture(), name, severity=severity, key=KEY)


def test_the_sheet_of_types_shows_the_benchmarks_own_pixels_in_the_papers_order() -> None:
    sheet = sheet_of_types(picture(), KEY, 4)
    cells = [picture(), *(corrupted(name, 4) for name in CORRUPTION_NAMES)]
    found = [places(sheet, cell) for cell in cells]
    assert [len(each) for each in found] == [1] * 16
    in_reading_order = [each[0] for each in found]
    assert in_reading_order == sorted(in_reading_order)
    assert len({row for row, _ in in_reading_order}) == 4


def test_the_sheet_of_types_is_of_severity_3_unless_told_otherwise() -> None:
    np.testing.assert_array_equal(sheet_of_types(picture(), KEY), sheet_of_types(picture(), KEY, 3))


def test_the_sheet_of_severities_has_a_row_per_corruption_and_clean_at_its_left() -> None:
    sheet = sheet_of_severities(picture(), KEY, ["fog", "gaussian_noise"])
    clean = places(sheet, picture())
    assert len(clean) == 2
    for name, (row, left) in zip(["fog", "gaussian_noise"], clean, strict=True):
        columns = []
        for severity in SEVERITIES:
            [(top, column)] = places(sheet, corrupted(name, severity))
            assert top == row
            columns.append(column)
        assert [left, *columns] == sorted({left, *columns})


def test_the_sheet_of_severities_shows_all_corruptions_unless_told_otherwise() -> None:
    sheet = sheet_of_severities(picture(), KEY)
    assert len(places(sheet, picture())) == 15
    np.testing.assert_array_equal(sheet, sheet_of_severities(picture(), KEY, CORRUPTION_NAMES))


def test_the_key_decides_over_the_random_numbers() -> None:
    assert places(sheet_of_types(picture(), "car/b", 4), corrupted("shot_noise", 4)) == []


@pytest.mark.parametrize("group", GROUPS)
def test_below_each_corrupted_cell_is_a_bar_in_its_groups_colour(group: str) -> None:
    sheet = sheet_of_types(picture(), KEY)
    for name in GROUPS[group]:
        [(top, left)] = places(sheet, corrupted(name, 3))
        assert (sheet[top + 40 : top + 45, left : left + 61] == GROUP_COLOURS[group]).all()


def test_labels_of_narrow_pictures_do_not_run_into_each_other() -> None:
    sheet = sheet_of_severities(picture(33, 45), KEY, ["jpeg_compression"])
    [(top, _)] = places(sheet, picture(33, 45))
    inked = (sheet[top + 52 : top + 72] < 128).all(axis=2).any(axis=0)
    gaps = np.diff(np.flatnonzero(inked))
    assert (gaps > 8).sum() == 5  # six labels


def test_a_large_picture_is_reduced_to_its_cell_and_a_small_one_left_alone() -> None:
    large = fitted(picture(900, 610), 512)
    assert large.shape == (347, 512, 3)
    assert places(sheet_of_types(picture(900, 610), KEY, 1), large)
    np.testing.assert_array_equal(fitted(picture(512, 300), 512), picture(512, 300))


def test_a_picture_is_never_reduced_to_nothing() -> None:
    assert fitted(picture(2000, 1), 320).shape == (1, 320, 3)


def test_unknown_corruptions_are_refused_with_the_nearest_name() -> None:
    with pytest.raises(BadInput, match="did you mean 'fog'"):
        sheet_of_severities(picture(), KEY, ["snow", "frog"])


def test_no_corruptions_at_all_are_refused() -> None:
    with pytest.raises(BadInput, match="no corruption was named; choose from gaussian_noise"):
        sheet_of_severities(picture(), KEY, [])


def test_an_unknown_severity_is_refused() -> None:
    with pytest.raises(BadInput, match="severity 6 does not exist"):
        sheet_of_types(picture(), KEY, 6)


@pytest.mark.parametrize("name", ["sheet", "sheet.foo", "sheet.ico", "sheet.xbm", "sheet.h5"])
def test_a_suffix_without_a_format_for_sheets_is_refused(name: str, tmp_path: Path) -> None:
    for attempt in (check_sheet_path, lambda path: save_sheet(path, picture())):
        with pytest.raises(BadInput, match=r"sheet.*: its name must end in \.png, \.jpg"):
            attempt(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("suffix", "kind"), [(".png", "PNG"), (".PNG", "PNG"), (".tif", "TIFF"), (".jpg", "JPEG")]
)
def test_the_suffix_decides_over_the_format(suffix: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "deep" / f"sheet{suffix}"
    check_sheet_path(path)
    save_sheet(path, picture())
    with PIL.Image.open(path) as written:
        assert written.format == kind
        error = np.abs(np.asarray(written, dtype=int) - picture())
    assert error.mean() == 0 if kind != "JPEG" else error.mean() < 6


def test_a_pdf_can_be_written_though_it_cannot_be_read(tmp_path: Path) -> None:
    save_sheet(tmp_path / "sheet.pdf", picture())
    assert (tmp_path / "sheet.pdf").read_bytes().startswith(b"%PDF")


def test_long_titles_are_shortened_to_the_room_that_there_is() -> None:
    face = font(15)
    text = shortened("a very long key of a picture", face, 90)
    assert text.endswith("…")
    assert face.getlength(text) <= 90 < face.getlength(f"{text[:-1]}xxx…")
    assert shortened("short", face, 90) == "short"


def pair() -> Pair:
    """A wide source, a tall target, three points, a box of 40 x 30: the tolerance is 4 pixels."""
    return Pair(
        id="000001-a-b:car",
        category="car",
        source="car/a",
        target="car/b",
        source_points=np.array([[10.0, 9.0], [44.0, 30.0], [50.0, 8.0]]),
        target_points=np.array([[12.0, 20.0], [30.0, 60.0], [40.0, 10.0]]),
        source_box=Box(3, 5, 55, 36),
        target_box=Box(5, 8, 45, 38),
        source_size=Size(61, 40),
        target_size=Size(53, 90),
    )


FOUND = np.array([[12.0, 24.0], [30.0, 64.1], [40.0, 10.0]])  # at the tolerance, beyond it, exact
ZOOM = 5  # 480 / 90, rounded
LEFT, TOP = 61 * ZOOM + 12, (90 - 40) * ZOOM // 2  # of the target; of the source


def drawn(found: Points = FOUND, alpha: float = 0.1, label: str = "") -> Image:
    grey, dark = np.full((40, 61, 3), 120, np.uint8), np.full((90, 53, 3), 60, np.uint8)
    return match_picture(grey, dark, pair(), found, alpha=alpha, label=label)


def on_source(point: Points) -> tuple[int, int]:
    return TOP + int(ZOOM * (point[1] + 0.5)), int(ZOOM * (point[0] + 0.5))


def on_target(point: Points) -> tuple[int, int]:
    return int(ZOOM * (point[1] + 0.5)), LEFT + int(ZOOM * (point[0] + 0.5))


def test_source_and_target_stand_side_by_side_magnified_by_a_whole_number() -> None:
    canvas = drawn()
    assert canvas.shape[:2] == (90 * ZOOM + 36, LEFT + 53 * ZOOM)
    assert (canvas[TOP + 1, 1] == 120).all()
    assert (canvas[TOP - 1, 1] == 255).all()
    assert (canvas[449, LEFT + 1] == 60).all()
    assert (canvas[449, LEFT - 2] == 255).all()


def test_right_points_are_green_and_wrong_ones_red_at_both_ends() -> None:
    canvas = drawn()
    for point, answer, colour in zip(
        pair().source_points, FOUND, (RIGHT, WRONG, RIGHT), strict=True
    ):
        assert tuple(canvas[on_source(point)]) == colour
        assert tuple(canvas[on_target(answer)]) == colour


def test_the_tolerance_is_a_fraction_of_the_targets_box() -> None:
    assert tuple(drawn(alpha=0.11)[on_target(FOUND[1])]) == RIGHT
    assert tuple(drawn(alpha=0.09)[on_target(FOUND[0])]) == WRONG


def test_the_truth_is_white() -> None:
    far = np.array([[45.0, 80.0], [30.0, 60.0], [40.0, 10.0]])
    assert tuple(drawn(far)[on_target(pair().target_points[0])]) == TRUTH


def test_an_answer_outside_the_target_is_drawn_at_its_border() -> None:
    outside = np.array([[12.0, 20.0], [-900.0, 60.0], [40.0, 10.0]])
    assert tuple(drawn(outside)[on_target(np.array([0.0, 60.0]))]) == WRONG


def test_pixels_away_from_points_and_lines_are_the_pictures_own() -> None:
    source, target = picture(61, 40), picture(53, 90)
    canvas = match_picture(source, target, pair(), FOUND)
    shown = canvas[: 90 * ZOOM : ZOOM, LEFT::ZOOM]
    same = (shown == target).all(axis=2)
    assert same[70:].all()
    assert 0.75 < same.mean() < 1


def test_the_label_changes_the_caption_alone() -> None:
    plain, labelled = drawn(), drawn(label="fog@3")
    assert plain.shape == labelled.shape
    assert np.array_equal(plain[:-36], labelled[:-36])
    assert not np.array_equal(plain[-36:], labelled[-36:])


def test_pictures_of_another_pair_are_refused() -> None:
    with pytest.raises(BadInput, match="53 x 90 pixels was given for one of 61 x 40"):
        match_picture(picture(53, 90), picture(53, 90), pair(), FOUND)


def test_answers_of_another_pair_are_refused() -> None:
    with pytest.raises(BadInput, match="1 answers were given for 3 points"):
        drawn(FOUND[:1])


def test_labels_are_joined_in_the_colour_of_their_confidence_and_the_surest_lie_on_top() -> None:
    grey, dark = np.full((40, 61, 3), 120, np.uint8), np.full((90, 53, 3), 60, np.uint8)
    given = np.array([[10.0, 9.0], [44.0, 30.0]])
    found = np.array([[12.0, 20.0], [70.0, 60.0]])  # the second lies outside
    sure = np.array([0.25, 1.0], dtype=np.float32)
    canvas = label_picture(grey, dark, given, found, sure, "two")
    assert tuple(canvas[on_source(given[0])]) == confidence_colour(0.25)
    assert tuple(canvas[on_source(given[1])]) == confidence_colour(1.0)
    assert tuple(canvas[on_target(found[0])]) == confidence_colour(0.25)
    assert tuple(canvas[on_target(np.array([52.0, 60.0]))]) == confidence_colour(1.0)
    both = label_picture(grey, dark, given[[0, 0]], found[[0, 0]], sure[::-1], "one place")
    assert tuple(both[on_source(given[0])]) == confidence_colour(1.0)


def test_the_surer_the_lighter() -> None:
    weights = np.array([0.2126, 0.7152, 0.0722])
    light = [weights @ confidence_colour(share) for share in (0, 0.25, 0.5, 0.75, 1)]
    assert light == sorted(light)
    assert confidence_colour(0) == (68, 1, 84)
    assert confidence_colour(1) == (253, 231, 37)


def test_pictures_of_several_widths_stand_below_each_other_on_paper() -> None:
    sheet = stacked([picture(20, 10), picture(30, 15)])
    assert sheet.shape == (25, 30, 3)
    assert np.array_equal(sheet[:10, :20], picture(20, 10))
    assert (sheet[:10, 20:] == 255).all()
    assert np.array_equal(sheet[10:], picture(30, 15))
