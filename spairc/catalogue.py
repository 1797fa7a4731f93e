"""What `spairc list` shows: every table of names, with what a user needs to choose."""

from collections.abc import Callable, Mapping

from spairc.datasets import DATASETS
from spairc.protocols import PROTOCOLS
from spairc.report.tables import Table, as_columns
from spairc.spec import GROUPS, SEVERITIES, VERSION
from spairc_models import COLLECTIONS, MODELS, Model


def models() -> str:
    """Return the matchers: what each is, its input, what it reports and what it needs."""
    rows = [_model_row(name, model) for name, model in MODELS.items()]
    rows += [_model_row(f"{name}:NAME", model) for name, model in COLLECTIONS.items()]
    rows.append(("package.module:Name", "a matcher of your own", "", "", "see the README"))
    header = ("model", "what it is", "input", "SPair-71k", "weights")
    return as_columns(Table("PCK@0.1 as its paper reports it", header, tuple(rows)))


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


def _model_row(name: str, model: Model) -> tuple[str, str, str, str, str]:
    """Return one model's line."""
    side = "" if model.side is None else str(model.side)
    reported = model.reported.get("spair71k")
    weights = "none needed"
    if model.needs_weights:
        training = f"; spairc train {model.recipe}" if model.recipe else ""
        weights = model.weights or f"not public{training}"
    shown = "" if reported is None else f"{reported:.1f}"
    return (name, model.description, side, shown, weights)
