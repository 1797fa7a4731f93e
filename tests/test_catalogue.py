"""What `spairc list` shows fits a terminal and tells what a user needs to choose."""

import pytest

from spairc.catalogue import CATALOGUES
from spairc_models import COLLECTIONS, MODELS
from spairc_models.zoo.measured import UNMEASURED, measured


@pytest.mark.parametrize("name", ["models", "corruptions"])
def test_a_list_fits_a_terminal(name: str) -> None:
    assert max(map(len, CATALOGUES[name]().splitlines())) <= 100


@pytest.mark.parametrize(
    ("beginning", "end"),
    [
        ("sift 64", "none needed"),
        ("dift 768 52.9 original", "public"),
        ("catspp 512 59.8 paper", "public supervised-catspp"),
        ("matchme-cats 256 53.0 paper", "not public matchme-cats"),
        ("scorrsan 256 55.3 paper", "not public scorrsan-mt"),
    ],
)
def test_a_models_line_tells_input_number_protocol_weights_and_recipe(
    beginning: str, end: str
) -> None:
    lines = [" ".join(line.split()) for line in CATALOGUES["models"]().splitlines()]
    (line,) = (each for each in lines if each.startswith(f"{beginning} "))
    assert line.endswith(end)


def test_every_model_and_collection_is_described() -> None:
    text = " ".join(CATALOGUES["models"]().split())
    assert all(f"{name} {model.description}" in text for name, model in MODELS.items())
    assert all(f"{name}:NAME {model.description}" in text for name, model in COLLECTIONS.items())


def test_what_a_model_takes_is_measured_or_the_reason_told() -> None:
    runs = {name for name, model in MODELS.items() if model.where}
    assert runs - measured().keys() == UNMEASURED.keys()
    text = " ".join(CATALOGUES["models"]().split())
    assert all(f"; not measured: {reason}" in text for reason in UNMEASURED.values())
