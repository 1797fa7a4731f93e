"""What the commands share: options, what they mean, progress, and BadInput as one line."""

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from spairc.lookup import lookup
from spairc.spec import CONDITIONS, parse_conditions
from spairc.types import BadInput, Condition

if TYPE_CHECKING:
    from spairc.datasets.dataset import Dataset
    from spairc.engine import Engine


class OneLine(click.ClickException):
    """A BadInput on its way to the terminal."""

    exit_code = 2


class Group(click.Group):
    """A group that shows BadInput as one line. Any other exception is a bug: show it whole."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except BadInput as error:
            raise OneLine(" ".join(str(error).split())) from None


class Conditions(click.ParamType[tuple[Condition, ...]]):
    """Conditions as they are written: clean, fog@3, blur@*, *@5, all."""

    name = "condition"

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,  # noqa: ARG002 -- click's signature
        ctx: click.Context | None,  # noqa: ARG002 -- click's signature
    ) -> tuple[Condition, ...]:
        """Return the conditions that the text means."""
        return parse_conditions(value)


class Duration(click.ParamType[float]):
    """A time as it is written: 90s, 30m, 2h; in seconds."""

    name = "duration"

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,  # noqa: ARG002 -- click's signature
        ctx: click.Context | None,  # noqa: ARG002 -- click's signature
    ) -> float:
        """Return the seconds."""
        number, unit = str(value)[:-1], str(value)[-1:]
        if unit not in _SECONDS or not number.isascii() or not number.isdigit() or not int(number):
            raise BadInput(f"duration {value!r}: write 90s, 30m or 2h")
        return float(int(number) * _SECONDS[unit])


class Bytes(click.ParamType[int]):
    """An amount of memory as it is written: 500MB, 1.5GB, 2GiB; in bytes."""

    name = "memory"

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,  # noqa: ARG002 -- click's signature
        ctx: click.Context | None,  # noqa: ARG002 -- click's signature
    ) -> int:
        """Return the bytes."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMGT])(i?)B", str(value), re.IGNORECASE)
        if found is None or not float(found[1]):
            raise BadInput(f"memory {value!r}: write 500MB, 4GB or 2GiB")
        steps = "KMGT".index(found[2].upper()) + 1
        return int(float(found[1]) * (1024 if found[3] else 1000) ** steps)


_ENGINES = ("local", "ray")
_SECONDS = {"s": 1, "m": 60, "h": 3600}
FOLDER = click.Path(path_type=Path)
ON = click.option(
    "--on",
    "patterns",
    type=Conditions(),
    multiple=True,
    metavar="CONDITION",
    help="Such as fog@3, blur@*, *@5 or clean; may be repeated.  [default: all]",
)


WORKERS = click.option(
    "--workers", type=int, help="Worker processes.  [default: all cores; eval: 1]"
)


def _hush(context: click.Context, option: click.Parameter, value: bool) -> None:  # noqa: ARG001, FBT001 -- click's signature
    """Remember that the user wants results alone."""
    context.meta[_QUIET] = value


_QUIET = "spairc.quiet"  # of click's context
QUIET = click.option(
    "--quiet",
    is_flag=True,
    expose_value=False,
    callback=_hush,
    help="Results and errors only: no progress.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON in place of tables.")


def is_quiet() -> bool:
    """Return whether the command that runs was given --quiet."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(_QUIET))


def remark(text: str) -> None:
    """Print what goes beside the result, to the error stream, unless the user wants it quiet."""
    if not is_quiet():
        click.echo(text, err=True)


def engine_options(command: Callable[..., object]) -> Callable[..., object]:
    """Add the options that tell where the work is done."""
    options = (
        WORKERS,
        click.option("--engine", "place", default="local", show_default=True, help="Or ray."),
        click.option("--address", help="Of the Ray cluster.  [default: Ray on this machine]"),
    )
    for option in reversed(options):
        command = option(command)
    return command


def engine_of(
    *,
    workers: int | None,
    place: str,
    address: str | None,
    units: int,
    units_per_worker: int = 1,
) -> "Engine":
    """Return what the options name."""
    from spairc.engine import Cluster, processes

    lookup(dict.fromkeys(_ENGINES), place, "engine")
    if place == "ray":
        if workers is not None:
            raise BadInput("--workers is for --engine local; Ray starts what fits its nodes")
        return Cluster(address)
    if address is not None:
        raise BadInput("--address is Ray's; give --engine ray too")
    return processes(workers, units=units, units_per_worker=units_per_worker)


def dataset_options(command: Callable[..., object]) -> Callable[..., object]:
    """Add the options that name a pair list."""
    options = (
        click.option("--root", type=FOLDER, required=True, help="Folder of the dataset."),
        click.option("--dataset", "name", default="spair71k", show_default=True, help="Its kind."),
        click.option("--split", default="test", show_default=True, help="trn, val or test."),
        click.option("--layout", default="large", show_default=True, help="SPair-71k's pair list."),
        click.option("--limit", type=click.IntRange(min=1), help="Use the first pairs only."),
        click.option("--share", type=float, help="Use this part of every category, such as 0.25."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def dataset_of(
    *, name: str, root: Path, split: str, layout: str, limit: int | None, share: float | None
) -> "Dataset":
    """Return the dataset that the options name."""
    from spairc.datasets import load_dataset
    from spairc.subset import first_pairs, share_of_pairs

    dataset = load_dataset(name, root, split=split, layout=layout)
    if share is not None:
        dataset = dataset.select(share_of_pairs(dataset.table, share))
    return dataset if limit is None else dataset.select(first_pairs(dataset.table, limit))


def conditions_of(
    patterns: Sequence[tuple[Condition, ...]], default: tuple[Condition, ...]
) -> tuple[Condition, ...]:
    """Return the conditions that were asked for, once each, in the order of the tables."""
    asked = {condition for pattern in patterns for condition in pattern}
    return tuple(each for each in CONDITIONS if each in asked) if patterns else default


@contextmanager
def progress(total: int, unit: str) -> Iterator[Callable[[int], object]]:
    """Show a bar with the time left on the terminal's error stream; yield its advance."""
    from tqdm import tqdm

    pause = 0.2 if sys.stderr.isatty() else 30  # seconds; a log file wants few lines
    # The bar waits a second, so that what is refused at once is one line and no more.
    how: dict[str, Any] = {"mininterval": pause, "dynamic_ncols": True, "delay": 1}
    with tqdm(total=total, unit=unit, disable=is_quiet(), **how) as bar:
        yield bar.update


@contextmanager
def byte_bars() -> Iterator[Callable[[str, int, int], None]]:
    """Yield what shows, for each step by name, how many bytes of how many are done."""
    from tqdm import tqdm

    bars: dict[str, tqdm[NoReturn]] = {}

    def show(step: str, done: int, total: int) -> None:
        if step not in bars:
            how: dict[str, Any] = {"unit": "B", "unit_scale": True, "disable": is_quiet()}
            bars[step] = tqdm(desc=step, total=total or None, **how)
        bars[step].update(done - bars[step].n)

    try:
        yield show
    finally:
        for bar in bars.values():
            bar.close()
