"""What each of the paper's tables takes: trainings, and the printed numbers of each row.

To add a row: its training in `TRAININGS`, a line in its table. The numbers are those of
`spairc.published` and `spairc.report.printed`, by reference.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from spairc.metrics import mce
from spairc.published import (
    TABLE_3,
    TABLE_4,
    TABLE_6,
    TABLE_A,
    TABLE_B,
    TABLE_B_ALPHAS,
    TABLE_C,
    factor_scores,
)
from spairc.report.printed import TABLE_1, TABLE_2, TABLE_2_ALPHAS
from spairc.report.several import on_published_list
from spairc.runs import Run
from spairc.scoring import Level
from spairc.spec import CORRUPTED
from spairc.types import CLEAN, Condition

# How far from what is printed a number may be, in points, and still count as reproduced. Chosen,
# not derived: no paper of the field tells how far two trainings of one recipe are apart.
CLEAN_TOLERANCE = 1.0  # all pairs, clean: less than half of the 2.2 that MatchMe adds to CATs++
LEVEL_TOLERANCE = 2.0  # one level of a factor: down to a tenth of the pairs
PF_TOLERANCE = 1.5  # the 299 pairs of PF-PASCAL, the 900 of PF-WILLOW's 100 pictures
# A corrupted cell: the authors' corrupted pictures come from a program that they did not publish.
CELL_TOLERANCE = 3.0
MCE_TOLERANCE = 2.0  # a mean of 75 cells, over a mean of 75 others

WHY = (
    "The tolerances are chosen: no paper tells how far apart two trainings of one recipe are. A "
    "number inside its tolerance does not show that rows which differ by less stand in that order."
)


@dataclass(frozen=True, kw_only=True)
class Training:
    """One network to be trained."""

    recipe: str
    changes: tuple[str, ...] = ()  # as `spairc train --set` takes them
    annotator: str | None = None  # the training that it starts from: --from-checkpoint


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """One printed number, and how it is measured on a run."""

    name: str
    published: float  # percent
    tolerance: float = CLEAN_TOLERANCE  # points
    dataset: str = "spair71k"
    condition: Condition = CLEAN
    alpha: float = 0.1
    level: Level = ("all", "all")  # which of the pairs
    baseline: str | None = None  # the training whose errors count as 100: then the number is mCE


@dataclass(frozen=True)
class Row:
    """One row of a table."""

    label: str  # as printed
    quantities: tuple[Quantity, ...]


@dataclass(frozen=True)
class Plan:
    """A table: rows by the name of their training, in the order of the paper."""

    title: str
    rows: Mapping[str, Row]
    trainings: Mapping[str, Training]
    compares: Callable[[Run], bool] = on_published_list  # whether a run's pairs are the paper's


_ONE_GENERATION = (
    "matchme.generations=1",
    "matchme.strengths=[1]",
    "matchme.warp_strengths=[1]",
)
_NO_NOISE = (
    "matchme.generations=1",
    "matchme.strengths=[0]",
    "matchme.warp_strengths=[0]",
)

TRAININGS: dict[str, Training] = {
    "cats": Training(recipe="supervised-cats"),
    "catspp": Training(recipe="supervised-catspp"),
    "semimatch-cats": Training(recipe="semimatch-cats"),
    "scorrsan": Training(recipe="scorrsan-mt"),
    "matchme-cats": Training(recipe="matchme-cats", annotator="cats"),
    "matchme-catspp": Training(recipe="matchme-catspp", annotator="catspp"),
    "cnngeou-catspp": Training(recipe="cnngeou-catspp", annotator="catspp"),
    "pwarpc-catspp": Training(recipe="pwarpc-catspp", annotator="catspp"),
    "scorrsan-catspp": Training(recipe="scorrsan-mt-catspp"),
    "cats-pf-pascal": Training(recipe="supervised-pfpascal-cats"),
    "catspp-pf-pascal": Training(recipe="supervised-pfpascal-catspp"),
    "matchme-catspp-pf-pascal": Training(recipe="pfpascal-catspp", annotator="matchme-catspp"),
    "matchme-cats-1-generation": Training(
        recipe="matchme-cats", changes=_ONE_GENERATION, annotator="cats"
    ),
    "matchme-cats-no-noise": Training(recipe="matchme-cats", changes=_NO_NOISE, annotator="cats"),
    **{
        f"matchme-cats-tau-{tau:g}": Training(
            recipe="matchme-cats", changes=(f"matchme.threshold={tau:g}",), annotator="cats"
        )
        for tau in TABLE_A
        if tau != 0.7  # noqa: PLR2004 -- the recipe's own: "matchme-cats"
    },
    # The annotator is trained on the same share of the labels, in the same run.
    **{
        f"matchme-cats-labels-{share:g}": Training(
            recipe="matchme-cats", changes=(f"labelled={share:g}", *_ONE_GENERATION)
        )
        for share in TABLE_C
        if share != 1  # all labels: "matchme-cats-1-generation"
    },
}


def _clean(scores: Mapping[float, float]) -> tuple[Quantity, ...]:
    """Return PCK on clean SPair-71k, by alpha."""
    return tuple(
        Quantity(name=f"PCK@{alpha:g}", published=score, alpha=alpha)
        for alpha, score in scores.items()
    )


def _first(printed: tuple[float | None, ...]) -> tuple[Quantity, ...]:
    """Return PCK of all pairs, the first number of a row of Table 1."""
    return tuple(
        each for score in printed[:1] if score is not None for each in _clean({0.1: score})
    )


def _both_pf(model: str) -> tuple[Quantity, ...]:
    """Return a model's row of Table 2: PF-PASCAL, then PF-WILLOW by the same network."""
    places = [(name, alpha) for name in ("pf-pascal", "pf-willow") for alpha in TABLE_2_ALPHAS]
    return tuple(
        Quantity(
            name=f"{dataset} @{alpha:g}",
            published=score,
            tolerance=PF_TOLERANCE,
            dataset=dataset,
            alpha=alpha,
        )
        for (dataset, alpha), score in zip(places, TABLE_2[model], strict=True)
        if score is not None
    )


def _cells(model: str) -> tuple[Quantity, ...]:
    """Return a model's 76 cells of Table 4."""
    scores = TABLE_4[model].scores()
    clean = Quantity(name="clean", published=scores[CLEAN])
    corrupted = Quantity(name="", published=0, tolerance=CELL_TOLERANCE)
    return (
        clean,
        *(replace(corrupted, name=str(c), published=scores[c], condition=c) for c in CORRUPTED),
    )


def _mce(model: str, baseline: str, against: str) -> Quantity:
    """Return what a model's cells of Table 4 give for mCE, against another model's."""
    errors = [{c: 100 - pck for c, pck in TABLE_4[m].scores().items()} for m in (model, baseline)]
    return Quantity(
        name=f"mCE, {baseline} 100",
        published=mce(*errors),
        tolerance=MCE_TOLERANCE,
        baseline=against,
    )


def _levels(model: str) -> tuple[Quantity, ...]:
    """Return a model's row of Table 5."""
    return tuple(
        Quantity(
            name="all" if factor == "all" else f"{factor} {level}",
            published=score,
            tolerance=CLEAN_TOLERANCE if factor == "all" else LEVEL_TOLERANCE,
            level=(factor, level),
        )
        for (factor, level), score in factor_scores(model).items()
    )


def _curve(model: str) -> tuple[Quantity, ...]:
    """Return a model's row of Table B."""
    return _clean(dict(zip(TABLE_B_ALPHAS, TABLE_B[model], strict=True)))


def _rows(
    models: Iterable[tuple[str, str]], quantities: Callable[[str], tuple[Quantity, ...]]
) -> dict[str, Row]:
    """Return rows of models by their trainings; both name a model, the first as printed."""
    return {training: Row(label, quantities(label)) for label, training in models}


# Printed name -> training, of the models that the trainer can make.
_MODELS: dict[str, str] = {
    "CATs": "cats",
    "CATs++": "catspp",
    "SemiMatch": "semimatch-cats",
    "SCorrSAN": "scorrsan",
    "MatchMe-CATs++": "matchme-catspp",
}

TABLES: dict[str, Plan] = {
    "table1": Plan(
        "Table 1: PCK@0.1 on clean SPair-71k",
        _rows(_MODELS.items(), lambda model: _first(TABLE_1[model])),
        TRAININGS,
    ),
    # On PF-WILLOW the networks are those of PF-PASCAL, as CATs' program does; the paper does not
    # tell, neither that nor which of its two networks its row is.
    "table2": Plan(
        "Table 2: PCK on clean PF-PASCAL (of the picture) and PF-WILLOW (of the padded box)",
        {
            "cats-pf-pascal": Row("CATs", _both_pf("CATs")),
            "catspp-pf-pascal": Row("CATs++", _both_pf("CATs++")),
            "matchme-catspp-pf-pascal": Row("MatchMe-CATs++", _both_pf("MatchMe-CATs++")),
        },
        TRAININGS,
    ),
    "table3": Plan(
        "Table 3: ways to learn, with CATs++; PCK@0.1 on clean SPair-71k",
        {
            "catspp": Row("CATs++", _clean({0.1: TABLE_3["CATs++"]})),
            "cnngeou-catspp": Row("+ CNNGeoU", _clean({0.1: TABLE_3["+ CNNGeoU"]})),
            "pwarpc-catspp": Row("+ PWarpC", _clean({0.1: TABLE_3["+ PWarpC"]})),
            "scorrsan-catspp": Row("+ SCorrSAN", _clean({0.1: TABLE_3["+ SCorrSAN"]})),
            "matchme-catspp": Row("+ MatchMe", _clean({0.1: TABLE_3["+ MatchMe"]})),
        },
        TRAININGS,
    ),
    "table4": Plan(
        "Table 4: PCK@0.1 on SPair-C",
        {
            "cats": Row("CATs", _cells("CATs")),
            "matchme-cats": Row(
                "MatchMe-CATs", (*_cells("MatchMe-CATs"), _mce("MatchMe-CATs", "CATs", "cats"))
            ),
        },
        TRAININGS,
    ),
    "table5": Plan(
        "Table 5: PCK@0.1 on clean SPair-71k by factor of difficulty",
        _rows(_MODELS.items(), _levels),
        TRAININGS,
    ),
    "table6": Plan(
        "Table 6: the parts of MatchMe, with CATs; clean SPair-71k",
        {
            "matchme-cats": Row("MatchMe-CATs", _clean(TABLE_6["MatchMe-CATs"])),
            "matchme-cats-1-generation": Row(
                "- iterative training", _clean(TABLE_6["- iterative training"])
            ),
            "matchme-cats-no-noise": Row("- data noise", _clean(TABLE_6["- data noise"])),
            "cats": Row("- unpaired data", _clean(TABLE_6["- unpaired data"])),
        },
        TRAININGS,
    ),
    "tableA": Plan(
        "Table A: MatchMe-CATs by its threshold; PCK@0.1 on clean SPair-71k",
        {
            "matchme-cats" if tau == 0.7 else f"matchme-cats-tau-{tau:g}": Row(  # noqa: PLR2004 -- as above
                f"tau {tau:g}", _clean({0.1: score})
            )
            for tau, score in TABLE_A.items()
        },
        TRAININGS,
    ),
    "tableB": Plan(
        "Table B: PCK on clean SPair-71k by alpha", _rows(_MODELS.items(), _curve), TRAININGS
    ),
    "tableC": Plan(
        "Table C: one generation by the share of labels; PCK@0.1 on clean SPair-71k",
        {
            "matchme-cats-1-generation" if share == 1 else f"matchme-cats-labels-{share:g}": Row(
                f"labels {share:g}", _clean({0.1: score})
            )
            for share, score in TABLE_C.items()
        },
        TRAININGS,
    ),
}
