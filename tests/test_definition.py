"""docs/definition.md is enough: all 75 cells, made from its words, are the published ones.

Nothing of the project takes part but the page, and the filter weights that it tells to copy.
Parameters are read from the page's tables.
"""

import hashlib
import json
import math
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from spairc.corruptions import CORRUPTIONS, weights

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "definition.md").read_text(encoding="utf-8")
PUBLISHED = json.loads((TESTS / "same_pixels.json").read_text())["spair-c/1"]
CROPS = {"coffee": np.s_[100:220, 200:360], "astronaut": np.s_[10:141, 180:277]}
Image = NDArray[np.uint8]


@pytest.fixture
def by_the_page(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """What was written from the page."""
    monkeypatch.syspath_prepend(str(TESTS))
    import page_corruptions

    return page_corruptions


def identity(image: Image) -> str:
    return hashlib.sha256(b"%d %d " % image.shape[:2] + image.tobytes()).hexdigest()


def section(heading: str) -> str:
    """What stands under a heading."""
    return PAGE.split(f"# {heading}\n")[1].split("\n#")[0]


def parameters(corruption: str, severity: int) -> list[float]:
    """The column of a severity in the corruption's table; of mud there is no strength."""
    table = section(corruption).strip().split("\n\n")[0].splitlines()[2:]
    cells = [row.split("|")[severity + 1].strip() for row in table]
    return [math.nan if cell == "mud" else float(cell) for cell in cells]


def test_the_page_tells_the_corruptions_in_the_order_of_the_tables() -> None:
    assert re.findall(r"^### (\w+)$", PAGE, re.MULTILINE) == list(CORRUPTIONS)


@pytest.mark.parametrize("name", [pytest.param("coffee", marks=pytest.mark.slow), "astronaut"])
@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_the_words_of_the_page_give_the_published_pixels(
    by_the_page: ModuleType, corruption: str, name: str
) -> None:
    picture = np.ascontiguousarray(getattr(data, name)()[CROPS[name]])
    for severity in range(1, 6):
        stream = by_the_page.Stream(f"any/{name}", corruption, severity)
        make = by_the_page.CORRUPTIONS[corruption]
        made = make(picture, stream, *parameters(corruption, severity))
        assert identity(made) == PUBLISHED[name][f"{corruption}@{severity}"], severity


def test_the_frost_pictures_are_those_of_the_page(by_the_page: ModuleType) -> None:
    told = re.findall(r"^\| (\d) \| .* \| (\d+) x (\d+) \| `(\w+)` \|$", PAGE, re.MULTILINE)
    assert [number for number, *_ in told] == list("01234")
    for number, height, width, pixels in told:
        ice = by_the_page.frost_picture(int(number))
        assert ice.shape == (int(height), int(width), 3)
        assert identity(ice) == pixels


def test_the_filter_weights_are_those_of_the_page() -> None:
    told = re.findall(r"^\| (\w+) ([\d.]+) \| (\d+) \| `(\w+)` \|$", PAGE, re.MULTILINE)
    assert [float(size) for _, size, *_ in told] == [3, 4, 6, 8, 10, 1, 1.5, 2, 3, 4, 6]
    for kind, size, side, digest in told:
        if kind == "disk":
            found = weights.disk(int(size)).astype("<f4")
        else:
            found = weights.smoothing(float(size)).astype("<f8")
        assert len(found) == int(side)
        assert hashlib.sha256(found.tobytes()).hexdigest() == digest


def test_the_draws_give_the_pages_known_answers(by_the_page: ModuleType) -> None:
    import page_draws as draws  # by_the_page made it known

    stream = by_the_page.Stream("car/2008_000033", "fog", 3)
    table = np.round(draws.normal_table() * 2**16).astype("<i4")
    columns = [draws.poisson_tables(scale)[0].shape[1] for scale in (60, 25, 12, 5, 3)]
    answers = [
        " ".join(f"{word:08x}" for word in draws.philox(bytes(8), 0, 4).tolist()),
        stream.key.hex(" "),
        " ".join(f"{word:08x}" for word in draws.philox(stream.key, 0, 4).tolist()),
        str(stream.uniform(-100, 100, 1)[0]),
        f"`{hashlib.sha256(table.tobytes()).hexdigest()}`",
        ", ".join(map(str, columns)),
    ]
    assert re.findall(r"^\| .* \| (.*) \|$", section("Known answers"), re.MULTILINE)[1:] == answers
