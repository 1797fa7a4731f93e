"""Runs on several datasets side by side, on clean pictures: the paper's Table 2, and SPair-71k."""

from collections.abc import Mapping, Sequence

from spairc.lookup import lookup
from spairc.protocols import PROTOCOLS, Protocol
from spairc.published import TABLE_B, TABLE_B_ALPHAS, is_official_test_list
from spairc.report.printed import TABLE_2, TABLE_2_ALPHAS
from spairc.report.summary import check_alike
from spairc.report.tables import Cell, Table, ranked
from spairc.runs import Run
from spairc.types import CLEAN, BadInput

# How the CATs family's papers count each dataset, by the direction that was asked. Others ask
# PF-PASCAL forward; the paper's Table 2 prints both kinds in one column.
_PROTOCOLS: dict[str, dict[str, str]] = {
    "spair71k": {"forward": "paper", "reversed": "cats"},
    "pf-pascal": {"forward": "pf-pascal-forward", "reversed": "pf-pascal-paper"},
    "pf-willow": {"forward": "pf-willow-padded"},
}
_PAIRS = {"pf-pascal": 299, "pf-willow": 900}  # of the published lists
_PLACE = {"pf-pascal": 0, "pf-willow": len(TABLE_2_ALPHAS)}  # first column of Table 2


def datasets_table(runs: Sequence[Run]) -> Table:
    """Return PCK on clean pictures: models down, datasets and tolerances across.

    Each dataset is counted by its own protocol, which the title tells. Published rows stand below
    in the columns whose lists they were counted on.

    Args:
        runs: One for each model and dataset; of one dataset all on the same pairs.

    Raises:
        BadInput: If two runs are of one model and dataset, runs of one dataset do not compare, a
            run was not run on clean pictures, or its dataset and direction have no protocol.
    """
    by_dataset = {
        name: found
        for name in _PROTOCOLS
        if (found := [run for run in runs if run.settings.dataset == name])
    }
    protocols = {name: _protocol(found) for name, found in by_dataset.items()}
    scores = _scores(runs, protocols)
    models = dict.fromkeys(run.settings.model for run in runs)
    rows: list[tuple[Cell, ...]] = [
        (model, *(each for name in by_dataset for each in scores.get((model, name), _NOTHING)))
        for model in models
    ]
    rows += _published(by_dataset)
    header = [f"{name} @{alpha:g}" for name in by_dataset for alpha in TABLE_2_ALPHAS]
    told = [_told(found[0], protocols[name]) for name, found in by_dataset.items()]
    return ranked(Table("\n".join(["clean pictures", *told]), ("Model", *header), tuple(rows)))


_NOTHING: tuple[None, ...] = (None,) * len(TABLE_2_ALPHAS)


def _protocol(runs: Sequence[Run]) -> Protocol:
    """Return how a dataset is counted."""
    check_alike(runs)
    settings = runs[0].settings
    known = _PROTOCOLS[settings.dataset]
    if settings.direction not in known:
        raise BadInput(
            f"{runs[0].folder} asks {settings.dataset} {settings.direction}, which no paper does; "
            f"run it {' or '.join(known)}"
        )
    return PROTOCOLS[known[settings.direction]]


def _scores(
    runs: Sequence[Run], protocols: Mapping[str, Protocol]
) -> dict[tuple[str, str], tuple[float, ...]]:
    """Return the scores at each tolerance, by model and dataset."""
    found: dict[tuple[str, str], tuple[float, ...]] = {}
    for run in runs:
        place = run.settings.model, run.settings.dataset
        protocol = lookup(protocols, run.settings.dataset, "dataset")
        if place in found:
            raise BadInput(f"{run.folder} is a second run of {' on '.join(place)}; give one")
        if CLEAN not in run.conditions:
            raise BadInput(f"{run.folder} was not run on clean pictures; add --on clean to it")
        answers = run.answers(CLEAN)
        found[place] = tuple(protocol.metric(alpha)(answers) for alpha in TABLE_2_ALPHAS)
    return found


def _published(by_dataset: Mapping[str, Sequence[Run]]) -> list[tuple[Cell, ...]]:
    """Return the paper's rows, in the columns that compare; none if no column does."""
    compare = [name for name, runs in by_dataset.items() if on_published_list(runs[0])]
    rows: list[tuple[Cell, ...]] = []
    for model in TABLE_2:
        cells = [
            cell
            for name in by_dataset
            for cell in (_printed(model, name) if name in compare else _NOTHING)
        ]
        if any(cell is not None for cell in cells):
            rows.append((f"{model} (published)", *cells))
    return rows


def on_published_list(run: Run) -> bool:
    """Return whether a run is on the list of pairs that papers report."""
    settings = run.settings
    if settings.split != "test":
        return False
    if settings.dataset == "spair71k":
        return is_official_test_list(run.pairs)
    return settings.pairs == _PAIRS[settings.dataset]


def _printed(model: str, dataset: str) -> tuple[Cell, ...]:
    """Return a model's published scores on a dataset; SPair-71k's are those of Table B."""
    if dataset == "spair71k":
        known = dict(zip(TABLE_B_ALPHAS, TABLE_B.get(model, ()), strict=False))
        return tuple(known.get(alpha) for alpha in TABLE_2_ALPHAS)
    first = _PLACE[dataset]
    return TABLE_2[model][first : first + len(TABLE_2_ALPHAS)]


def _told(run: Run, protocol: Protocol) -> str:
    """Return how a dataset was counted, and on what."""
    metric = str(protocol.metric()).partition(" ")[2]
    settings = run.settings
    return (
        f"{settings.dataset} {settings.split}: {settings.pairs} pairs, PCK {metric}, protocol "
        f"{protocol.name}"
    )
