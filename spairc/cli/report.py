"""Commands about runs that are done: report, score, fit-protocol."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from spairc.cli.common import FOLDER
from spairc.lookup import lookup
from spairc.types import BadInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spairc.report.differences import Certainty
    from spairc.report.summary import Summary
    from spairc.runs import Run

PROTOCOL = click.option("--protocol", default="paper", show_default=True, help="How PCK counts.")
BASELINE = click.option("--baseline", help="A run folder, or published: what mCE divides by.")
ALPHA = click.option("--alpha", default=0.1, show_default=True, help="Tolerance of PCK.")


@click.command()
@click.argument("folders", metavar="RUN [RUN ...]", type=FOLDER, nargs=-1, required=True)
@PROTOCOL
@ALPHA
@BASELINE
@click.option(
    "--resamples",
    type=click.IntRange(min=0),
    default=1000,
    show_default=True,
    help="For 95 % intervals; 0 for none.",
)
@click.option("--out", type=FOLDER, help="For the tables.  [default: report in the first RUN]")
def report(
    folders: tuple[Path, ...],
    protocol: str,
    alpha: float,
    baseline: str | None,
    resamples: int,
    out: Path | None,
) -> None:
    """Print the scores of RUNs and write tables.

    Markdown, LaTeX and CSV: the layout of the paper's Table 4, categories, factors of difficulty,
    tolerances, groups, and which matches break. Of several runs, which differences are real.

    Example: spairc report runs/sift runs/hog --baseline runs/hog
    """
    from spairc.protocols import PROTOCOLS
    from spairc.report.summary import summarise
    from spairc.report.write import report_tables, write_all
    from spairc.runs import open_run

    chosen = lookup(PROTOCOLS, protocol, "protocol")
    runs = [open_run(folder) for folder in folders]
    against = baseline_of(baseline)
    summaries = [summarise(run, chosen, alpha, against) for run in runs]
    certain = _certainty(runs, summaries, against, resamples)
    tables = report_tables(runs, summaries, chosen, certain)
    print_summaries(summaries, certain)
    target = out or folders[0] / "report"
    written = write_all(tables, target)
    click.echo(f"wrote {len(written)} files to {target}: {', '.join(tables)}")


@click.command()
@click.argument("folder", metavar="RUN", type=FOLDER)
@click.option("--protocol", help="Print this one in full.  [default: all, a line each]")
@ALPHA
@BASELINE
def score(folder: Path, protocol: str | None, alpha: float, baseline: str | None) -> None:
    """Score a RUN again, without its model.

    Writes PCK by every protocol that its answers can be counted by, to scores.parquet, and by
    category, factor of difficulty and number of points, to breakdowns.parquet.

    Example: spairc score runs/sift --protocol dift --alpha 0.05
    """
    from spairc.protocols import PROTOCOLS
    from spairc.report.details import protocol_table
    from spairc.report.summary import summarise
    from spairc.report.tables import as_text
    from spairc.runs import open_run
    from spairc.scoring import ALPHAS, check_direction, write_scores

    chosen = None if protocol is None else lookup(PROTOCOLS, protocol, "protocol")
    run, against = open_run(folder), baseline_of(baseline)
    if chosen is not None:
        check_direction(run, chosen)
        print_summaries([summarise(run, chosen, alpha, against)], None)
    elif against is not None:
        raise BadInput("mCE is of one protocol; give --protocol beside --baseline")
    scored = write_scores(run, [*ALPHAS, alpha])
    if chosen is None:
        click.echo(as_text(protocol_table(run, scored, alpha)))
    click.echo(f"wrote {folder / 'scores.parquet'}\nwrote {folder / 'breakdowns.parquet'}")


@click.command()
@click.argument("folders", metavar="RUN [RUN ...]", type=FOLDER, nargs=-1, required=True)
def fit_protocol(folders: tuple[Path, ...]) -> None:
    """Tell which RUN is nearest to Table 4.

    The paper does not say all that was done to the pictures. Run the published CATs weights under
    several choices, and this tells which of them gives the published CATs row, cell by cell.

    Example: spairc fit-protocol runs/cats runs/cats-target runs/cats-jpeg
    """
    from spairc.report.fit import fit_runs
    from spairc.report.tables import as_text
    from spairc.runs import open_run

    click.echo(as_text(fit_runs([open_run(folder) for folder in folders])))


def baseline_of(text: str | None) -> "Run | str | None":
    """Return the run that counts as 100, or the word "published"."""
    from spairc.report.summary import PUBLISHED
    from spairc.runs import open_run

    return text if text in (None, PUBLISHED) else open_run(Path(str(text)))


def print_summaries(summaries: "Sequence[Summary]", certain: "Certainty | None") -> None:
    """Print every run's table and headline, and how the runs differ."""
    from spairc.report.differences import difference_table, told_at_once
    from spairc.report.summary import headline, severity_table
    from spairc.report.tables import as_text

    for place, summary in enumerate(summaries):
        intervals = None if certain is None else certain.intervals(place)
        click.echo(as_text(severity_table(summary)))
        click.echo("\n".join(headline(summary, intervals)) + "\n")
    if certain is not None and len(summaries) > 1:
        click.echo(as_text(difference_table(certain, told_at_once(certain))))
    elif certain is not None:
        click.echo(f"{certain.note}\n")


def _certainty(
    runs: "Sequence[Run]", summaries: "Sequence[Summary]", baseline: "Run | str | None", number: int
) -> "Certainty | None":
    """Return the runs resampled; None, and the reason printed, if there are too few pictures."""
    from spairc.report.differences import certainty
    from spairc.runs import Run
    from spairc.statistics import TooFew

    if number == 0:
        return None
    against = baseline if isinstance(baseline, Run) else summaries[0].baseline
    try:
        return certainty(runs, summaries, against, number)
    except TooFew as error:
        click.echo(f"no intervals: {error}", err=True)
        return None
