"""What `spairc list` shows: every table of names, with what a user needs to choose."""

import textwrap
from collections.abc import Callable, Mapping
from itertools import zip_longest

from spairc.datasets import DATASETS
from spairc.protocols import PROTOCOLS
from spairc.report.tables import Table, as_columns
from spairc.spec import GROUPS, SEVERITIES, VERSION
from spairc_models import COLLECTIONS, MODELS, Model
from spairc_models.zoo.measured import UNMEASURED, Measured, measured

_DESCRIBED = 76  # characters of a description in one line


def models() -> str:
    """Return the matchers: their input, what they report, where weights are, what each is.

    Addresses are too long for a table: `spairc eval` tells that of a model whose weights it lacks.
    """
    named = {**MODELS, **{f"{name}:NAME": model for name, model in COLLECTIONS.items()}}
    took = measured()
    rows = [_model_row(name, model, took.get(name)) for name, model in named.items()]
    header = (
        "model",
        "input",
        "SPair",
        "protocol",
        "picture",
        "pair",
        "MB",
        "weights",
        "recipe",
    )
    title = (
        "PCK@0.1 on SPair-71k, as published; a number compares only with one of its protocol.\n"
        "Seconds to encode a picture, to match a pair, and megabytes: benchmarks/zoo.py, SPair-mini"
    )
    own = ("package.module:Name", "a matcher of your own; see the README")
    words = (*((name, _words(name, model)) for name, model in named.items()), own)
    wrapped = tuple(row for name, text in words for row in _wrapped(name, text))
    told = as_columns(Table("What they are", ("model", "what it is"), wrapped))
    return f"{as_columns(Table(title, header, tuple(rows)))}\n\n{told}"


def corruptions() -> str:
    """Return the corruptions by group."""
    rows = [(name, group) for group, names in GROUPS.items() for name in names]
    severities = ", ".join(map(str, SEVERITIES))
    title = f"{VERSION}: severities {severities}; write fog@3, weather@3, fog@* or *@3"
    return as_columns(Table(title, ("corruption", "group"), tuple(rows)))


def datasets() -> str:
    """Return the datasets with their splits and lists."""
    rows = [
        (name, each.description, " ".join(each.splits), " ".join(each.layouts))
        for name, each in DATASETS.items()
    ]
    header = ("dataset", "what it is", "splits", "layouts")
    return as_columns(Table("Pair lists that --dataset knows", header, tuple(rows)))


def protocols() -> str:
    """Return the protocols with the full name of their metric."""
    rows = [
        (name, str(each.metric()), each.direction, each.description)
        for name, each in PROTOCOLS.items()
    ]
    header = ("protocol", "metric", "direction", "whose")
    return as_columns(
        Table("A number compares only with one of its own protocol", header, tuple(rows))
    )


CATALOGUES: Mapping[str, Callable[[], str]] = {
    "models": models,
    "corruptions": corruptions,
    "datasets": datasets,
    "protocols": protocols,
}


def _words(name: str, model: Model) -> str:
    """Return what a model is, what to run where it has no program, why its cost is not known."""
    instead = f"; no public program, like {model.nearest}" if model.nearest else ""
    unmeasured = f"; not measured: {UNMEASURED[name]}" if name in UNMEASURED else ""
    return f"{model.description}{instead}{unmeasured}"


def _wrapped(name: str, text: str) -> list[tuple[str, str]]:
    """Return the rows of a description, which may need more than one."""
    return list(zip_longest([name], textwrap.wrap(text, _DESCRIBED), fillvalue=""))


def _model_row(name: str, model: Model, took: Measured | None) -> tuple[str, ...]:
    """Return one model's line; the protocol is that of the reported number."""
    side = "" if model.side is None else str(model.side)
    reported = model.reported.get("spair71k")
    number = ("", "") if reported is None else (f"{reported:.1f}", model.protocol)
    weights = "none needed"
    if model.needs_weights:
        weights = "public" if model.weights else "not public"
    cost = ("", "", "")
    if took is not None:
        cost = (f"{took.picture:.3f}", f"{took.pair:.3f}", f"{took.megabytes:.0f}")
    return (name, side, *number, *cost, weights if model.where else "no program", model.recipe)
