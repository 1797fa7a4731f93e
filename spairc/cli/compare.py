"""The command that tells how somebody's archive was made: compare."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spairc.cli.common import FOLDER, QUIET, engine_of, engine_options, progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spairc.comparison import CellReport
    from spairc.report.tables import Table


@click.command()
@click.argument("official", type=FOLDER)
@click.argument("built", type=FOLDER)
@click.option("--root", type=FOLDER, help="Clean pictures.  [default: where annotations link to]")
@click.option(
    "--pictures", type=click.IntRange(min=1), default=16, show_default=True, help="A cell."
)
@click.option("--out", type=FOLDER, help="A CSV file for the distances from all variants.")
@engine_options
@QUIET
def compare(
    official: Path, built: Path, root: Path | None, pictures: int, out: Path | None, **engine: Any
) -> None:
    """Tell how far an archive is from ours.

    OFFICIAL is an archive of SPair-C by somebody else, unpacked; BUILT is what `spairc build`
    made. Files are counted; of some pictures of each cell the distance from ours is measured, in
    grey levels ("pixels") and between histograms (in percent), and from variants of ours: made of
    a squashed picture, kept as JPEG.

    Example: spairc compare official/SPair-C SPair-C --out distances.csv
    """
    from spairc.comparison import compare as compare_sets
    from spairc.files import write_text
    from spairc.report.tables import as_csv, as_text
    from spairc.spec import CORRUPTED

    cells = len(CORRUPTED)
    place = engine_of(**engine, units=cells, units_per_worker=4)
    with progress(cells, "cell") as advance:
        found = compare_sets(
            official, built, root=root, pictures=pictures, engine=place, watch=lambda _: advance(1)
        )
    click.echo(as_text(_table(found)))
    if out is not None:
        write_text(out, as_csv(_all_distances(found)))
        click.echo(f"wrote {out}")


def _table(found: "Sequence[CellReport]") -> "Table":
    """Return what the terminal shows: files, and distances from ours and from the nearest."""
    from spairc.comparison import OURS
    from spairc.report.tables import Table

    rows = []
    for each in found:
        ours, nearest = each.distances.get(OURS), each.nearest
        near = None if nearest is None else each.distances[nearest]
        rows.append(
            (
                str(each.condition),
                f"{each.missing} of {each.expected}",
                each.sizes,
                each.formats or "-",
                None if each.quality is None else f"{each.quality:g}",
                None if ours is None else ours.pixels,
                None if ours is None else 100 * ours.histograms,
                nearest,
                None if near is None else near.pixels,
                None if near is None else 100 * near.histograms,
            )
        )
    header = ("cell", "missing", "size", "format", "JPEG", "pixels", "%", "nearest", "pixels", "%")
    return Table("Distance from ours, and from the nearest variant", header, tuple(rows))


def _all_distances(found: "Sequence[CellReport]") -> "Table":
    """Return a row per cell and variant."""
    from spairc.report.tables import Table

    header = ("corruption", "severity", "variant", "pictures", "pixels", "histograms")
    rows = tuple(
        (
            str(each.condition.corruption),
            str(each.condition.severity),
            variant,
            str(each.compared),
            distance.pixels,
            distance.histograms,
        )
        for each in found
        for variant, distance in each.distances.items()
    )
    return Table("Distances", header, rows)
