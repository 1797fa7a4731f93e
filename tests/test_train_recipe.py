"""Recipes: read from TOML, complete, checked, and packed with the program."""

import json
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from matchme_train.recipe import (
    MatchMe,
    Recipe,
    as_record,
    load_recipe,
    read_recipe,
    recipe_names,
    with_epochs,
)
from matchme_train.stages import stage_names
from spairc.types import BadInput
from spairc_models import MODELS

SHIPPED = (
    "cnngeou-catspp",
    "cocr-cats",
    "cocr-scorrsan",
    "matchme-cats",
    "matchme-catspp",
    "pfpascal-cats",
    "pfpascal-catspp",
    "pwarpc-catspp",
    "scorrsan-mt",
    "scorrsan-mt-catspp",
    "scorrsan-st",
    "semimatch-cats",
    "supervised-cats",
    "supervised-catspp",
    "supervised-pfpascal-cats",
    "supervised-pfpascal-catspp",
    "supervised-scorrsan",
)


def test_these_recipes_ship() -> None:
    assert recipe_names() == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_a_recipe_survives_json_and_trains_a_known_model(name: str) -> None:
    recipe = load_recipe(name)
    assert read_recipe(json.loads(json.dumps(as_record(recipe))), "record") == recipe
    assert recipe.model in MODELS
    if recipe.registers and recipe.published is not None:
        assert recipe.published <= MODELS[recipe.model].reported[recipe.dataset]


@pytest.mark.parametrize("model", [each for each in MODELS.values() if each.recipe])
def test_every_recipe_that_the_models_name_exists(model: Any) -> None:
    assert model.recipe in SHIPPED


def test_published_settings_are_the_papers() -> None:
    cats, catspp, matchme = (
        load_recipe(name) for name in ("supervised-cats", "supervised-catspp", "matchme-cats")
    )
    assert (cats.optimiser.learning_rate, catspp.optimiser.learning_rate) == (3e-5, 3e-4)
    assert (cats.network.side, catspp.network.side) == (256, 512)
    assert matchme.matchme is not None
    assert (matchme.matchme.threshold, matchme.matchme.weight) == (0.7, 1)
    assert (matchme.matchme.generations, matchme.matchme.epochs) == (3, 50)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("optimiser.learning_rat=1", "did you mean 'learning_rate'"),
        ("supervise.epochs=1", "did you mean 'supervised'"),
        ("supervised.epochs=ten", "takes a whole number"),
        ("supervised.epochs=1.5", "takes a whole number"),
        ("supervised.epochs=true", "takes a whole number"),
        ("supervised.epochs=0", "must be 1 to"),
        ("network.layers=3", "takes a list"),
        ("optimiser.milestones=[0.5,2]", "milestones is 2"),
        ("network.cells=15", "must be a multiple of cells 15"),
        ("network.name=vat", "no trainable network is called 'vat'"),
        ("matchme.distance=cross_entropy", "did you mean 'cross-entropy'"),
        ("matchme.kernel=-1", "matchme.kernel is -1"),
        ("seed", "write a field and its value"),
        ("seed.x=1", "seed is a field and has none of its own"),
        ("supervised=false", "trains nothing"),
        ("matchme.strengths=[1]", "a number for each of the generations"),
        ("dataset=pf-willow", "no dataset to train on is called 'pf-willow'"),
        ("supervised.begin=warm", "no supervised.begin is called 'warm'"),
        ("cocr.grid=5", "cocr.grid 5 must divide cells 16"),
        ("cocr.share=1.5", "cocr.share is 1.5; it must be 0 to 1"),
        ("supervised.noise.chance=1.2", "must be 0 to 1"),
    ],
)
def test_wrong_fields_are_refused_by_name(change: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        load_recipe("supervised-cats", ["seed=1", change])


def test_two_methods_exclude_each_other() -> None:
    with pytest.raises(BadInput, match="matchme and semimatch exclude"):
        load_recipe("matchme-cats", ["semimatch.epochs=2"])


@pytest.mark.parametrize("change", ["dataset=pf-pascal", "supervised.begin=checkpoint"])
def test_another_dataset_or_beginning_is_for_supervised_training_alone(change: str) -> None:
    with pytest.raises(BadInput, match=r"is for \[supervised\] alone, without matchme"):
        load_recipe("matchme-cats", [change])


def test_an_unknown_recipe_is_told_the_nearest() -> None:
    with pytest.raises(BadInput, match="did you mean 'matchme-cats'"):
        load_recipe("matchme-cat")


def test_a_file_of_ones_own_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('model = "cats"\ndescription = "mine"\n[network]\nname = "cats"\n')
    assert load_recipe(path) == load_recipe(
        "supervised-cats", ["description=mine", "published=false"]
    )
    with pytest.raises(BadInput, match="cannot be read"):
        load_recipe(tmp_path / "other.toml")
    path.write_text("model = ")
    with pytest.raises(BadInput, match="is no TOML"):
        load_recipe(path)
    path.write_text('model = "cats"')
    with pytest.raises(BadInput, match="description, network must be given"):
        load_recipe(path)


def test_epochs_are_set_in_every_stage() -> None:
    recipe = with_epochs(load_recipe("matchme-cats"), 7)
    assert recipe.supervised is not None
    assert recipe.matchme is not None
    assert (recipe.supervised.epochs, recipe.matchme.epochs) == (7, 7)
    cocr = with_epochs(load_recipe("cocr-cats"), 5).cocr
    assert cocr is not None
    assert (cocr.epochs, cocr.fine_tuning_epochs) == (5, 5)
    with pytest.raises(BadInput, match="must be 1 to"):
        with_epochs(recipe, 0)


def test_stages_are_the_first_annotator_and_the_generations() -> None:
    recipe = load_recipe("matchme-cats")
    generations = ("generation-1", "generation-2", "generation-3")
    assert stage_names(recipe, None) == ("supervised", *generations)
    assert stage_names(recipe, "given.pth") == generations
    assert stage_names(load_recipe("scorrsan-mt"), None) == ("mutual",)
    assert stage_names(load_recipe("semimatch-cats"), None) == ("supervised", "semimatch")
    cocr, pascal = load_recipe("cocr-cats"), load_recipe("pfpascal-cats")
    assert stage_names(cocr, None) == ("supervised", "pre-training", "fine-tuning")
    assert stage_names(cocr, "given.pth") == ("pre-training", "fine-tuning")
    assert stage_names(pascal, "given.pth") == ("supervised",)


def test_every_number_of_a_recipe_has_a_range_or_is_free_by_choice() -> None:
    from matchme_train.recipe import _RANGES

    free = {"published", "rotation", "axis", "scale", "shift", "bend", "blocks", "layers", "kinds"}

    def numbers(record: Any) -> set[str]:
        found = set()
        for each in fields(record):
            value = getattr(record, each.name)
            if is_dataclass(value):
                found |= numbers(value)
            elif not isinstance(value, str | bool) and value is not None:
                found.add(each.name)
        return found

    named: set[str] = set()
    for name in SHIPPED:
        named |= numbers(load_recipe(name))
    assert named - free <= set(_RANGES)
    assert isinstance(load_recipe("matchme-cats").matchme, MatchMe)
    assert isinstance(load_recipe("matchme-cats"), Recipe)
