"""The command that makes the paper's tables again: reproduce."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import click

from spairc.cli.common import FOLDER
from spairc.cli.evaluate import evaluate
from spairc.cli.train import train
from spairc.lookup import lookup
from spairc.types import BadInput

if TYPE_CHECKING:
    from matchme_train.probe import Seen
    from spairc.report.tables import Table
    from spairc.reproduce.steps import Setting, Step
    from spairc.reproduce.tables import Plan
    from spairc.reproduce.verdict import Outcome

_COMMANDS = {"train": train, "eval": evaluate}
_WIDTH = 80  # of a terminal
_READABLE = 40  # lines of a table on a terminal; of a longer one a line for each row is printed


@click.command()
@click.argument("table")
@click.option("--data", type=FOLDER, required=True, help="Holds SPair-71k, VOC2012 and so on.")
@click.option("--out", type=FOLDER, default=Path("runs"), show_default=True, help="For the runs.")
@click.option("--only", "rows", multiple=True, metavar="ROW", help="May be repeated.")
@click.option("--dry-run", is_flag=True, help="Print the commands and what they will take.")
@click.option("--device", help="cpu, cuda, cuda:1.  [default: a GPU if there is one]")
@click.option("--precision", default="float32", show_default=True, help="Of training; bfloat16.")
@click.option("--workers", type=int, default=0, show_default=True, help="That prepare pairs.")
@click.option("--parts", type=int, default=1, show_default=True, help="Of a training batch.")
@click.option("--save-memory", is_flag=True, help="CATs++: compute again what need not be kept.")
def reproduce(table: str, rows: tuple[str, ...], *, dry_run: bool, **given: Any) -> None:
    """Make a TABLE of the paper again: train, evaluate, compare.

    TABLE is table1, table2, table3, table4, table5, table6, tableA, tableB or tableC.

    What is done already, by this command or by those that it prints, is kept: a training in
    OUT/train/ROW, an evaluation in OUT/ROW. What was stopped goes on where it was.

    Exit code 0: all rows that were asked for came out within the tolerance, which is printed with
    the table; 1: a number is outside, or was not run; 2: something in the input is wrong.

    Example: spairc reproduce table6 --data DATA --only matchme-cats --dry-run
    """
    from spairc.reproduce.steps import Setting
    from spairc.reproduce.tables import TABLES

    plan = lookup(TABLES, table, "table")
    names = list(dict.fromkeys(lookup({each: each for each in plan.rows}, r, "row") for r in rows))
    setting = Setting(**given)
    if not setting.data.is_dir():
        raise BadInput(f"--data {setting.data} is no folder; it holds SPair-71k and VOC2012")
    ready = _ready(plan, names or list(plan.rows), setting, alone=bool(rows))
    if dry_run:
        _foretell(plan, ready, setting)
        return
    for name in ready:
        _run(plan, name, setting)
    if not _conclude(plan, table, names or list(plan.rows), setting):
        click.get_current_context().exit(1)


def _ready(plan: "Plan", names: Sequence[str], setting: "Setting", *, alone: bool) -> list[str]:
    """Return the rows that can be run; tell what is in the way of the others.

    Raises:
        BadInput: If none can, or one that was named cannot.
    """
    from spairc.reproduce.steps import steps_of

    ready = []
    for name in names:
        try:
            steps_of(plan, name, setting)
        except BadInput as error:
            reason = f"row {name} cannot be run: {error}"
            if alone:
                raise BadInput(reason) from error
            click.echo(reason, err=True)
        else:
            ready.append(name)
    if not ready:
        raise BadInput("none of the rows can be run; why is told above")
    return ready


def _foretell(plan: "Plan", names: Sequence[str], setting: "Setting") -> None:
    """Print the commands that are left, and what each will take on this machine."""
    from spairc.reproduce.forecast import forecast, hours, machine
    from spairc.reproduce.steps import steps_of

    where, total, known = machine(setting), 0.0, set[str]()
    seen: Seen = {}
    click.echo(f"{plan.title}\nTimes are those of {where}, by a few steps of each kind.")
    for name in names:
        click.echo(f"\n{name}: {plan.rows[name].label}")
        left = steps_of(plan, name, setting)
        if not left:
            click.echo("  done")
        for step in left:
            command = _typed(step)
            if command in known:
                click.echo(f"  as above: {command}")
                continue
            known.add(command)
            told = forecast(step, seen)
            total += told.seconds
            click.echo(f"  {command}\n    about {hours(told.seconds)}: {told.told}")
    left_over = f"in all about {hours(total)} on {where}" if known else "nothing is left to do"
    click.echo(f"\n{left_over}; nothing was run")


def _run(plan: "Plan", name: str, setting: "Setting") -> None:
    """Do what is left of a row, by the commands that a person would type."""
    from spairc.reproduce.steps import steps_of

    for step in steps_of(plan, name, setting):
        click.echo(f"$ {_typed(step)}")
        command, *arguments = step.arguments()
        _COMMANDS[command].main(arguments, prog_name=f"spairc {command}", standalone_mode=False)


def _conclude(plan: "Plan", table: str, asked: Sequence[str], setting: "Setting") -> bool:
    """Print and write what came out; return whether all that was asked for is reproduced."""
    from spairc.reproduce.tables import WHY
    from spairc.reproduce.verdict import conclusion, outcomes_of, result_table, write_result

    found = {name: outcomes_of(plan, name, setting) for name in plan.rows}
    every = [each for outcomes in found.values() for each in outcomes]
    whole = result_table(plan, every)
    _show(plan, whole, every)
    paths = write_result(whole, table, setting)
    mine = [each for name in asked for each in found[name]]
    of_rows = "" if len(asked) == len(plan.rows) else f" ({', '.join(asked)})"
    click.echo(f"{fill(WHY, _WIDTH)}\n{table}{of_rows}: {conclusion(mine)}")
    click.echo(f"wrote {' and '.join(map(str, paths))}")
    return all(each.verdict == "yes" for each in mine)


def _show(plan: "Plan", whole: "Table", outcomes: "list[Outcome]") -> None:
    """Print a table, or a summary of a long one."""
    from spairc.report.tables import as_text
    from spairc.reproduce.verdict import summary_table

    click.echo(as_text(whole if len(whole.rows) <= _READABLE else summary_table(plan, outcomes)))


def _typed(step: "Step") -> str:
    """Return a command as a person would type it."""
    return shlex.join(["spairc", *step.arguments()])
