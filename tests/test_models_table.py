"""Models are found by name, take the options that they name and nothing else."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spairc.lookup import import_object
from spairc.protocols import PROTOCOLS
from spairc.types import BadInput, Image, Matcher, Points, Query, Size
from spairc_models import COLLECTIONS, MODELS, load_model

ENTRIES = {**MODELS, **COLLECTIONS}
PLAIN = [name for name, model in MODELS.items() if not model.needs_weights]

OWN = '''
"""Somebody's own matchers."""

class Centre:
    """Answers with the middle of the target."""

    name = "centre"

    def __init__(self, checkpoint=None, share=0.5):
        self.share = share

    def encode(self, images):
        return [None for _ in images]

    def match(self, queries):
        import numpy as np
        sizes = [np.array(query.target_size, dtype=float) for query in queries]
        return [self.share * size + 0 * q.points for q, size in zip(queries, sizes)]

def centre(**options):
    return Centre(**options)

def hungry(weights_folder):
    return Centre()

def forgetful():
    return object()

class Nameless(Centre):
    name = None

number = 3
'''


def details_of(matcher: Matcher) -> Mapping[str, object]:
    """What a run's record stores, where a matcher tells it."""
    return dict(getattr(matcher, "details", {}))


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "somebodys_matchers.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "somebodys_matchers", raising=False)
    return "somebodys_matchers"


@pytest.mark.parametrize("name", [name for name, model in ENTRIES.items() if model.where])
def test_every_entry_points_at_a_function(name: str) -> None:
    assert callable(import_object(ENTRIES[name].where, "model"))


@pytest.mark.parametrize("name", ENTRIES)
def test_every_entry_is_described_in_one_line(name: str) -> None:
    model = ENTRIES[name]
    for text in (model.description, model.paper, model.licence):
        assert text
        assert "\n" not in text
    assert len(model.description) <= 80


@pytest.mark.parametrize("name", ENTRIES)
def test_every_entry_counts_by_a_known_protocol(name: str) -> None:
    assert ENTRIES[name].protocol in PROTOCOLS
    assert all(0 < percent <= 100 for percent in ENTRIES[name].reported.values())


@pytest.mark.parametrize("name", PLAIN)
def test_a_model_without_weights_loads_by_its_name_alone(name: str) -> None:
    matcher: Matcher = load_model(name)
    assert matcher.name == name


@pytest.mark.parametrize("name", PLAIN)
def test_the_table_tells_the_side_of_the_input(name: str) -> None:
    assert details_of(load_model(name))["side"] == MODELS[name].side


@pytest.mark.parametrize("name", PLAIN)
def test_a_model_without_weights_needs_no_torch(name: str) -> None:
    code = f"""
import sys
import numpy as np
from spairc.types import Query, Size
from spairc_models import load_model
matcher = load_model({name!r})
image = np.arange(50 * 70 * 3, dtype=np.uint8).reshape(50, 70, 3)
grid = matcher.encode([image])[0]
matcher.match([Query(grid, grid, np.array([[9.0, 5.0]]), Size(70, 50), Size(70, 50), "car")])
sys.exit("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sfit", "no model is called 'sfit'; did you mean 'sift'"),
        ("SIFT ", "no model is called"),
        ("torchvision", "is a collection; write torchvision:NETWORK"),
        ("torchvision:resnet11", "no torchvision network is called 'resnet11'; did you mean"),
        ("torchvision:", "no torchvision network is called ''"),
        ("no_such_package.module:Name", "no module called 'no_such_package'"),
        ("json:Nothing", "json has no 'Nothing'"),
        ("json:", "write package.module:Name"),
    ],
)
def test_a_name_that_leads_nowhere_is_explained(name: str, message: str) -> None:
    with pytest.raises(BadInput, match=message) as refusal:
        load_model(name)
    assert "\n" not in str(refusal.value)


def test_an_option_that_a_model_does_not_take_is_named_with_those_it_takes() -> None:
    expected = "'sift' takes no device, layers; it takes readout, window, temperature"
    with pytest.raises(BadInput, match=expected):
        load_model("sift", layers="13", device="cuda")


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("window", "wide", "'sift': window is 'wide'; give a whole number"),
        ("window", 5.5, "window is 5.5; give a whole number"),
        ("window", True, "window is True; give a whole number"),
        ("temperature", "hot", "temperature is 'hot'; give a number"),
        ("readout", 7, "readout is 7; give text"),
    ],
)
def test_a_value_of_another_kind_is_refused(option: str, value: Any, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        load_model("sift", **{option: value})


def test_a_whole_number_is_a_number() -> None:
    assert details_of(load_model("sift", temperature=1))["temperature"] == 1


def test_an_option_that_is_none_counts_as_not_given() -> None:
    assert load_model("sift", checkpoint=None, layers=None, readout=None).name == "sift"


def test_an_option_reaches_the_model() -> None:
    assert details_of(load_model("hog", readout="argmax"))["readout"] == "argmax"


def answers(matcher: Matcher) -> Points:
    image: Image = np.zeros((30, 40, 3), dtype=np.uint8)
    features = matcher.encode([image])[0]
    query = Query(features, features, np.array([[1.0, 2.0]]), Size(40, 30), Size(40, 30), "car")
    return matcher.match([query])[0]


@pytest.mark.parametrize("name", ["Centre", "centre"])
def test_a_matcher_of_ones_own_is_a_class_or_a_function(own: str, name: str) -> None:
    assert answers(load_model(f"{own}:{name}")).tolist() == [[20, 15]]


@pytest.mark.parametrize("name", ["Centre", "centre"])
def test_a_matcher_of_ones_own_gets_its_options(own: str, name: str) -> None:
    assert answers(load_model(f"{own}:{name}", share=0.25)).tolist() == [[10, 7.5]]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("Centre", {"layers": "3"}, "takes no layers; it takes checkpoint, share"),
        ("hungry", {}, "hungry' needs weights_folder"),
        ("forgetful", {}, "makes an object of object, which lacks name, encode, match; a matcher"),
        ("Nameless", {}, "of Nameless, which lacks name; a matcher"),
        ("number", {}, "is no class or function"),
    ],
)
def test_what_is_no_matcher_is_explained(
    own: str, name: str, options: dict[str, str], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        load_model(f"{own}:{name}", **options)


def test_an_error_inside_ones_own_module_shows_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_matchers.py").write_text("import no_such_thing_at_all\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_thing_at_all"):
        load_model("broken_matchers:Any")
