"""Commands about runs that are done: report, score, fit-protocol."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spairc.cli.common import FOLDER, JSON, remark
from spairc.lookup import lookup
from spairc.types import BadInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spairc.pictures import Pictures
    from spairc.report.details import Detail
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
@click.option("--figures", type=FOLDER, help="Draw figures into this folder: PDF, SVG and PNG.")
@click.option("--html", type=FOLDER, help="Write a page into this file; it needs nothing else.")
@click.option("--root", type=FOLDER, help="Folder of the dataset, for pictures of matches.")
@click.option("--corrupted", type=FOLDER, help="The built set or archive that RUNs read.")
@JSON
def report(
    folders: tuple[Path, ...],
    protocol: str,
    alpha: float,
    baseline: str | None,
    resamples: int,
    out: Path | None,
    *,
    as_json: bool,
    **drawing: Path | None,
) -> None:
    """Print the scores of RUNs; write tables and figures.

    Markdown, LaTeX and CSV: the layouts of the paper's Tables 1, 2, 4, 5 and B, groups, and which
    matches break. Of several runs, which differences are real. Of runs on several datasets, the
    layout of Table 2 alone.

    Example: spairc report runs/sift runs/hog --baseline runs/hog --figures figures
    """
    from spairc.protocols import PROTOCOLS
    from spairc.report.details import details_of
    from spairc.report.write import report_tables, write_all
    from spairc.runs import open_run

    chosen = lookup(PROTOCOLS, protocol, "protocol")
    runs = [open_run(folder) for folder in folders]
    target = out or folders[0] / "report"
    if len({run.settings.dataset for run in runs}) > 1:
        _refuse_with_several(protocol != "paper", baseline, as_json, *drawing.values())
        _report_datasets(runs, target)
        return
    if as_json and any([out, *drawing.values()]):
        raise BadInput("--json prints and writes nothing; leave out --out, --figures and --html")
    against = baseline_of(baseline)
    pictures = _pictures(runs, **drawing)
    details = details_of(runs, chosen, alpha, against)
    summaries = [each.summary for each in details]
    certain = certainty_of(runs, summaries, against, resamples)
    if as_json:
        print_records(runs, summaries, certain)
        return
    tables = report_tables(details, certain)
    print_summaries(summaries, certain)
    _print_notes(runs)
    written = write_all(tables, target)
    click.echo(f"wrote {len(written)} files to {target}: {', '.join(tables)}")
    if drawing["figures"] is not None:
        _draw(details, certain, pictures, drawing["figures"])
    if drawing["html"] is not None:
        _write_page(details, certain, pictures, drawing["html"])


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


def _print_notes(runs: "Sequence[Run]") -> None:
    """Print what the journals of runs ask a reader to know."""
    from spairc.journal import read_journal

    for run in runs:
        if note := read_journal(run.folder).note:
            click.echo(f"{run.folder}: {note}")


def _refuse_with_several(*given: object) -> None:
    """Raise BadInput if an option was given that is for runs on one dataset."""
    if any(given):
        raise BadInput(
            "the runs are on several datasets, each counted by its own protocol; give --protocol, "
            "--baseline, --json, figures and pages with runs on one dataset"
        )


def _report_datasets(runs: "Sequence[Run]", folder: Path) -> None:
    """Print and write runs on several datasets side by side."""
    from spairc.report.several import datasets_table
    from spairc.report.tables import as_text
    from spairc.report.write import write_all

    table = datasets_table(runs)
    click.echo(as_text(table))
    written = write_all({"table2": table}, folder)
    click.echo(f"wrote {len(written)} files to {folder}: table2")


def _pictures(
    runs: "Sequence[Run]",
    figures: Path | None,
    html: Path | None,
    root: Path | None,
    corrupted: Path | None,
) -> "list[Pictures] | None":
    """Return the pictures that the runs saw; None if they are not asked for."""
    from spairc.report.hardest import pictures_of
    from spairc.report.summary import check_alike

    if html is not None and html.is_dir():
        raise BadInput(
            f"{html} is a folder; give the name of a file, such as report.html, as --html"
        )
    if figures is None and html is None:
        if root or corrupted:
            raise BadInput(
                "--root and --corrupted are for pictures; give --figures FOLDER or --html FILE too"
            )
        return None
    check_alike(runs)
    if root is None:
        if corrupted:
            raise BadInput("--corrupted needs --root too: clean pictures are read from the dataset")
        return None
    if corrupted is None:
        return [pictures_of(runs[0], root)] * len(runs)
    return [pictures_of(run, root, corrupted) for run in runs]  # not all have its conditions


def _draw(
    details: "Sequence[Detail]",
    certain: "Certainty | None",
    pictures: "Sequence[Pictures] | None",
    folder: Path,
) -> None:
    """Draw the figures and say what was drawn."""
    from spairc.report.figures.material import material_of
    from spairc.report.figures.write import WITHOUT_PICTURES, write_figures

    drawn = write_figures(material_of(details, certain), pictures, folder)
    if pictures is None:
        remark(WITHOUT_PICTURES)
    click.echo(f"drew {len(drawn)} figures into {folder}: {', '.join(drawn)}")


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
        table = severity_table(summary)
        click.echo(as_text(table) if table.rows else f"{table.title}\n")
        click.echo("\n".join(headline(summary, intervals)) + "\n")
    if certain is not None and len(summaries) > 1:
        click.echo(as_text(difference_table(certain, told_at_once(certain))))
    elif certain is not None:
        click.echo(f"{certain.note}\n")


def print_records(
    runs: "Sequence[Run]", summaries: "Sequence[Summary]", certain: "Certainty | None"
) -> None:
    """Print every run's scores and headline as a JSON list."""
    from spairc.report.record import as_record

    records = [
        as_record(summary, run.folder, None if certain is None else certain.intervals(place))
        for place, (run, summary) in enumerate(zip(runs, summaries, strict=True))
    ]
    click.echo(json.dumps(records, indent=1, allow_nan=False))


def _write_page(
    details: "Sequence[Detail]",
    certain: "Certainty | None",
    pictures: "Sequence[Pictures] | None",
    path: Path,
) -> None:
    """Write the page and say where it is."""
    from spairc.report.page.write import write_page

    write_page(path, details, certain, pictures)
    click.echo(f"wrote {path}: {path.stat().st_size / 1e6:.1f} MB; open it with a browser")


def certainty_of(
    runs: "Sequence[Run]",
    summaries: "Sequence[Summary]",
    baseline: "Run | str | None",
    number: int = 1000,
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
        remark(f"no intervals: {error}")
        return None
