"""The page about imports is what the import table gives today."""

import runpy
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

DOCS = Path(__file__).parents[1] / "docs"
SCRIPT = runpy.run_path(str(DOCS / "architecture.py"))


@pytest.mark.parametrize(("name", "write"), [("PICTURE", "picture"), ("PAGE", "page")])
def test_the_page_and_its_picture_are_up_to_date(name: str, write: str) -> None:
    found = SCRIPT[write](SCRIPT["table"]())
    told = SCRIPT[name].read_text(encoding="utf-8")
    assert found == told, "run: python docs/architecture.py"


def test_the_picture_shows_every_part() -> None:
    picture = ET.parse(DOCS / "architecture.svg")  # noqa: S314 -- our own script wrote it
    shown = [each.text for each in picture.iter("{http://www.w3.org/2000/svg}text")]
    for part in SCRIPT["table"]():
        assert part in shown


def test_an_area_stands_above_all_that_it_imports() -> None:
    imports = {"low": set(), "middle": {"low"}, "high": {"middle", "low"}, "beside": {"low"}}
    assert SCRIPT["rows"](imports) == [["high"], ["middle", "beside"], ["low"]]


def test_an_arrow_that_others_imply_is_left_out() -> None:
    table = {"a": (), "b": ("a",), "c": ("a", "b")}
    assert SCRIPT["arrows"](table) == {"a": set(), "b": {"a"}, "c": {"b"}}


def test_areas_that_import_each_other_are_refused() -> None:
    table = {"draws": (), "metrics": ("draws",), "corruptions": ("metrics",)}
    with pytest.raises(SystemExit, match="regroup AREAS"):
        SCRIPT["arrows"](table)
