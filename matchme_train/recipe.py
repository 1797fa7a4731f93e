"""All that determines a training run, as frozen records read from TOML.

A recipe that ships with spairc stands in `recipes/NAME.toml`; one of your own is any TOML file.
Fields that a file leaves out have the defaults below, whose comments name their source: a
published program, the paper "Match me if you can" (ACCV 2024), or "open" where neither tells.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass, replace
from importlib.resources import files
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from matchme_train.cocr_settings import COCR
from matchme_train.consistency_settings import Cycle, WarpConsistency
from matchme_train.sections import Amplitudes, Network, Noise, Optimiser, Unlabelled
from matchme_train.tasks import TASKS
from spairc.lookup import lookup
from spairc.types import BadInput


@dataclass(frozen=True, kw_only=True)
class Supervised:
    """Training on labelled pairs alone."""

    epochs: int = 100  # CATs, CATs++
    noise: Noise = Noise()
    begin: str = "fresh"  # or "checkpoint": it goes on with the weights of --from-checkpoint


@dataclass(frozen=True, kw_only=True)
class MatchMe:
    """Students of confident annotators, in generations."""

    generations: int = 3  # Figure 4
    epochs: int = 50  # of each: Figure 4, Table 6
    threshold: float = 0.7  # tau: Table A
    weight: float = 1.0  # lambda, of the supervised loss
    # Of equation 7, open: the end-point error of the "flow", which all of its networks train with,
    # or the "cross-entropy" of the shares that the soft-argmax takes the mean of.
    distance: str = "flow"
    kernel: float = 0.0  # cells; open: SFNet's Gaussian around the annotator's best, 5 there
    cycle: bool = False  # not in the paper: only cells that lead back, by SemiMatch's rule
    batch_size: int = 32  # unlabelled pairs a step; open: as many as labelled ones
    photometric: str = "cats"  # open: the paper names its references 2 and 3
    chance: float = 0.4  # of each operation at full strength: "at frequency .4"
    strengths: tuple[float, ...] = (0.5, 0.75, 1.0)  # of photometric noise, by generation; open
    warp_strengths: tuple[float, ...] = (1 / 3, 2 / 3, 1.0)  # "incrementally increasing"; open
    warp: Amplitudes = Amplitudes()
    crop: float = 0.5  # of labelled pairs, as in supervised training; unlabelled have no box
    fresh: bool = True  # "trains a new model"; false: a student starts as its annotator
    unlabelled: Unlabelled = Unlabelled()

    def __post_init__(self) -> None:
        """Refuse a distance that there is not."""
        lookup(dict.fromkeys(("flow", "cross-entropy")), self.distance, "matchme.distance")


@dataclass(frozen=True, kw_only=True)
class Pseudo:
    """SCorrSAN's labels near key points, from a teacher or a peer."""

    mutual: bool  # two networks teach each other (MT); false: a trained teacher stays fixed (ST)
    weight: float = 10.0  # of the pseudo loss: its `train.py`
    width: int = 7  # cells: labelled cells are grown by a square
    start: int = 4  # epoch in which pseudo labels begin: SPair-71k 4, PF-PASCAL 60
    first: float = 0.2  # share of labels kept at first
    last: float = 0.9  # and at last
    ramp: int = 10  # epochs between the two
    epochs: int = 150  # its default; its script for SPair-71k means 50 but does not pass it on
    noise: Noise = Noise(crop=0.0)  # it does not crop


@dataclass(frozen=True, kw_only=True)
class SemiMatch:
    """Weak and strong views of labelled pairs."""

    epochs: int = 500
    optimiser: Optimiser = Optimiser(  # its own; the supervised stage before it has the recipe's
        learning_rate=1e-6, milestones=(0.3, 0.44), batch_size=8
    )
    weight: float = 0.5  # of the unsupervised loss
    threshold: float = 0.5  # of a label's probability; the settings file of its paper says 0.9
    dynamic: bool = False  # the unsupervised loss is rescaled to the supervised one's value
    weak_chance: float = 0.2  # of each operation of CATs' list
    strong_chance: float = 0.2  # of each of the strong list
    crop: float = 0.5  # as CATs
    erase: float = 0.2  # chance of KeyOut, for each key point
    erase_sizes: tuple[float, ...] = (0.03, 0.1)  # shares of the object's box that it blackens
    warp: Amplitudes = Amplitudes()


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A whole run. Of the methods after `supervised` at most one is there."""

    model: str  # what `spairc eval --model` calls the result
    description: str  # one line
    published: float | None = None  # PCK@0.1 on the dataset's test split, percent, see `tasks`
    dataset: str = "spair71k"  # or "pf-pascal": a key of `tasks.TASKS`; --root is its folder
    registers: bool = True  # whether the model's name stands for the result from then on
    seed: int = 2021  # CATs'
    # Of each category's training pairs, the share whose labels are used: Table C has 0.2 to 1. It
    # is open whether of pairs or of pictures; here of pairs, both directions of one together.
    labelled: float = 1.0
    network: Network
    optimiser: Optimiser = Optimiser()
    supervised: Supervised | None = Supervised()  # none: a checkpoint must be given, or no need
    matchme: MatchMe | None = None
    pseudo: Pseudo | None = None
    semimatch: SemiMatch | None = None
    cocr: COCR | None = None
    warp_consistency: WarpConsistency | None = None
    cycle: Cycle | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be run, before anything is read."""
        _check(self)


METHODS = ("matchme", "pseudo", "semimatch", "cocr", "warp_consistency", "cycle")


def recipe_names() -> tuple[str, ...]:
    """Return the recipes that ship with spairc."""
    folder = files("matchme_train") / "recipes"
    return tuple(sorted(each.name.removesuffix(".toml") for each in folder.iterdir()))


def load_recipe(name: str | Path, changes: Sequence[str] = ()) -> Recipe:
    """Return a recipe by its name, or from a TOML file.

    Args:
        name: One of `recipe_names`, or a path that ends in .toml.
        changes: Fields set otherwise, as "optimiser.learning_rate=1e-4"; the value is TOML, and
            text needs no quotes.

    Raises:
        BadInput: If there is no such recipe, or a field is unknown or of the wrong type.
    """
    if str(name).endswith(".toml"):
        path = Path(name).expanduser()
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise BadInput(f"recipe {path} cannot be read ({error.strerror})") from error
        except UnicodeDecodeError as error:
            raise BadInput(f"recipe {path} is no text in UTF-8 ({error.reason})") from error
    else:
        found = lookup({each: each for each in recipe_names()}, str(name), "recipe")
        text = (files("matchme_train") / "recipes" / f"{found}.toml").read_text(encoding="utf-8")
    given = _parsed(text, f"recipe {name}")
    for change in changes:
        _change(given, change)
    return read_recipe(given, str(name))


def with_epochs(recipe: Recipe, epochs: int) -> Recipe:
    """Return the recipe with this many epochs in each of its stages.

    Raises:
        BadInput: If that is less than 1.
    """
    stages = {name: getattr(recipe, name) for name in ("supervised", *METHODS)}
    shorter = {}
    for name, each in stages.items():
        if each is not None:
            names = [field.name for field in fields(each) if field.name.endswith("epochs")]
            shorter[name] = replace(each, **dict.fromkeys(names, epochs))
    return replace(recipe, **shorter)


def read_recipe(given: Mapping[str, Any], where: str) -> Recipe:
    """Return the recipe of parsed TOML or of `as_record`'s answer.

    Args:
        given: Tables and values.
        where: What they were read from, for messages.

    Raises:
        BadInput: If a field is unknown, missing or of the wrong type.
    """
    recipe: Recipe = _built(Recipe, given, where)
    return recipe


def as_record(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe with every field, as JSON and TOML can hold it; `read_recipe` reads it."""
    record: dict[str, Any] = _plain(asdict(recipe))
    return record


def _parsed(text: str, where: str) -> dict[str, Any]:
    """Return what a TOML text holds."""
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadInput(f"{where} is no TOML: {error}") from None


def _change(given: dict[str, Any], change: str) -> None:
    """Set one field of parsed TOML."""
    name, equals, value = change.partition("=")
    if not equals or not all(part.isidentifier() for part in name.split(".")):
        raise BadInput(f"--set {change!r}: write a field and its value: matchme.threshold=0.5")
    *tables, last = name.split(".")
    for table in tables:
        given = given.setdefault(table, {})
        if not isinstance(given, dict):
            raise BadInput(f"--set {change!r}: {table} is a field and has none of its own")
    try:
        given[last] = tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        given[last] = value  # text without its quotes


def _built(kind: type[Any], given: Mapping[str, Any], where: str) -> Any:
    """Return a record of this kind from its table."""
    if not isinstance(given, Mapping):
        raise BadInput(f"{where}: this is a table of fields, not {given!r}")
    hints = get_type_hints(kind)
    known = {each.name: each for each in fields(kind)}
    for name in given:
        lookup(known, name, f"field of {where}")
    lacking = [
        name
        for name, each in known.items()
        if name not in given and each.default is MISSING and each.default_factory is MISSING
    ]
    if lacking:
        raise BadInput(f"{where}: {', '.join(lacking)} must be given")
    return kind(
        **{name: _value(hints[name], each, f"{where}.{name}") for name, each in given.items()}
    )


def _value(hint: Any, given: Any, where: str) -> Any:
    """Return a TOML value as the type that a field has."""
    if get_origin(hint) is UnionType:
        options = [each for each in get_args(hint) if each is not NoneType]
        return None if given in (None, False) else _value(options[0], given, where)
    if is_dataclass(hint) and isinstance(hint, type):
        return _built(hint, given, where)
    if get_origin(hint) is tuple:
        if not isinstance(given, list | tuple):
            raise BadInput(f"{where} is {given!r}; it takes a list: [1, 2]")
        return tuple(_value(get_args(hint)[0], each, where) for each in given)
    if hint is float and isinstance(given, int) and not isinstance(given, bool):
        if abs(given) > _LARGEST:
            raise BadInput(f"{where} is far too large")
        return float(given)
    if not isinstance(given, hint) or (isinstance(given, bool) and hint is not bool):
        raise BadInput(f"{where} is {given!r}; it takes {_KINDS[hint]}")
    return given


_LARGEST = 10**300  # of whole numbers that a float can hold
_KINDS: Mapping[type, str] = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
}


def _plain(value: Any) -> Any:
    """Return nested dicts and lists in place of tuples."""
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, tuple) else value


# Field by field, whichever table it stands in: the smallest and the largest value.
_RANGES: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys(("epochs", "batch_size", "generations", "cells", "field", "width"), (1, 1e9)),
    **dict.fromkeys(("chance", "weak_chance", "strong_chance", "crop", "erase"), (0, 1)),
    **dict.fromkeys(("threshold", "with_labelled", "first", "last", "milestones"), (0, 1)),
    "both_labelled": (0, 1),
    **dict.fromkeys(("learning_rate", "backbone_learning_rate", "weight_decay"), (0, 1)),
    **dict.fromkeys(("factor", "erase_sizes", "strengths", "warp_strengths"), (0, 1)),
    **dict.fromkeys(("seed", "start", "weight"), (0, 1e9)),
    **dict.fromkeys(("flip", "warped_chance"), (0, 1)),
    **dict.fromkeys(("labelled_weight", "relative", "absolute"), (0, 1e9)),
    "warm_up": (1, 1e9),
    "kernel": (0, 1e4),
    "temperature": (1e-4, 1e4),
    "corner": (0, 0.49),  # from a half on, four corners may no longer be those of a homography
    **dict.fromkeys(("share", "tolerance"), (0, 1)),
    **dict.fromkeys(("fine_tuning_epochs", "rounds", "pairs", "grid", "points"), (1, 1e9)),
    "ramp": (1, 1e9),
    "labelled": (1e-6, 1),  # at least one pair of each category stays
    "fewest": (2, 1e9),  # one picture makes no pair
    "side": (32, 4096),
    "hash_bits": (0, 256),
}


def _check_ranges(record: Any, where: str) -> None:
    """Raise BadInput for a number that its field cannot be."""
    for each in fields(record):
        value, name = getattr(record, each.name), f"{where}{each.name}"
        if is_dataclass(value):
            _check_ranges(value, f"{name}.")
        elif each.name in _RANGES:
            low, high = _RANGES[each.name]
            for number in value if isinstance(value, tuple) else (value,):
                if not low <= number <= high:
                    raise BadInput(f"{name} is {number}; it must be {low:g} to {high:g}")


def _check(recipe: Recipe) -> None:
    """Raise BadInput for what no run can do."""
    _check_ranges(recipe, "")
    lookup(dict.fromkeys(("cats", "catspp", "scorrsan")), recipe.network.name, "trainable network")
    chosen = [name for name in METHODS if getattr(recipe, name) is not None]
    if len(chosen) > 1:
        raise BadInput(f"recipe {recipe.model}: {' and '.join(chosen)} exclude each other")
    if not chosen and recipe.supervised is None:
        raise BadInput(f"recipe {recipe.model} trains nothing: give it [supervised] or a method")
    network = recipe.network
    if network.side % network.cells:
        raise BadInput(f"network.side {network.side} must be a multiple of cells {network.cells}")
    student = recipe.matchme
    for name in ("strengths", "warp_strengths"):
        if student is not None and len(getattr(student, name)) != student.generations:
            raise BadInput(f"matchme.{name} must have a number for each of the generations")
    _check_task(recipe, chosen)
    if recipe.cocr is not None and network.cells % recipe.cocr.grid:
        raise BadInput(f"cocr.grid {recipe.cocr.grid} must divide cells {network.cells}")


def _check_task(recipe: Recipe, chosen: Sequence[str]) -> None:
    """Raise BadInput where dataset, start and methods do not go together."""
    lookup(TASKS, recipe.dataset, "dataset to train on")
    begin = "fresh" if recipe.supervised is None else recipe.supervised.begin
    lookup(dict.fromkeys(("fresh", "checkpoint")), begin, "supervised.begin")
    if chosen and (recipe.dataset, begin) != ("spair71k", "fresh"):
        raise BadInput(
            f"recipe {recipe.model}: dataset {recipe.dataset} with supervised.begin {begin} is for "
            f"[supervised] alone, without {chosen[0]}"
        )
