"""How a training went: PCK on the validation pairs, stage after stage (MatchMe's Figure 4)."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.ticker import MaxNLocator

from spairc.metrics import PCK
from spairc.report.figures.style import COLUMN, Plate, line_style, look, new_figure, put

_BOLD = 5.0  # points: the marker of a stage's best epoch


def validation(rows: Sequence[Mapping[str, Any]], title: str, metric: PCK) -> Plate:
    """Return PCK against the epoch, a line per stage, its best epoch marked.

    Args:
        rows: One for each epoch, in their order, with `stage` and `validation_pck` in percent.
        title: What was trained; shown as it is.
        metric: What was validated by.
    """
    with look():
        figure = new_figure(COLUMN, 2.4)
        axes = figure.add_subplot()
        stages = list(dict.fromkeys(str(row["stage"]) for row in rows))
        for number, stage in enumerate(stages):
            epochs = [place for place, row in enumerate(rows, start=1) if row["stage"] == stage]
            scores = [float(rows[epoch - 1]["validation_pck"]) for epoch in epochs]
            style = line_style(number)
            axes.plot(epochs, scores, label=stage, markevery=[], **style)
            best = max(range(len(scores)), key=scores.__getitem__)
            axes.plot([epochs[best]], [scores[best]], markersize=_BOLD, **style)
            axes.annotate(
                f"{scores[best]:.1f}",
                (epochs[best], scores[best]),
                textcoords="offset points",
                xytext=(0, 4),
                ha="center",
            )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.margins(y=0.15)
        axes.set_xlabel("epoch, all stages one after another")
        axes.set_ylabel("PCK@0.1 on validation pairs, %")
        axes.grid(axis="y")
        put(axes.set_title("x"), title)
        axes.legend(frameon=False)
    best_of = ", ".join(
        f"{stage} {max(float(r['validation_pck']) for r in rows if r['stage'] == stage):.1f}"
        for stage in stages
    )
    return Plate(figure, f"{metric} on the validation pairs: {best_of}")
