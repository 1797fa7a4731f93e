"""The command that trains: train; and what `spairc list recipes` shows."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spairc.cli.common import FOLDER, QUIET, is_quiet, progress

if TYPE_CHECKING:
    from matchme_train.checkpoints import RunFolder
    from matchme_train.loop import Progress
    from matchme_train.recipe import Recipe
    from matchme_train.train import Prepared


@click.command()
@click.argument("recipe")
@click.option("--root", type=FOLDER, required=True, help="SPair-71k's folder, or PF-PASCAL's.")
@click.option("--unlabelled", type=FOLDER, help="PASCAL VOC 2012, or folders named as categories.")
@click.option("--from-checkpoint", help="The first annotator, or what is tuned further.")
@click.option("--out", type=FOLDER, help="The run's folder.  [default: runs/RECIPE]")
@click.option("--epochs", type=int, help="Of each stage.  [default: the recipe's]")
@click.option("--set", "changes", multiple=True, metavar="FIELD=VALUE", help="May be repeated.")
@click.option("--device", help="cpu, cuda, cuda:1.  [default: a GPU if there is one]")
@click.option("--precision", default="float32", show_default=True, help="Or bfloat16.")
@click.option("--workers", type=int, default=0, show_default=True, help="That prepare pairs.")
@click.option("--parts", type=int, default=1, show_default=True, help="Of a step's batch.")
@click.option("--save-memory", is_flag=True, help="CATs++: compute again what need not be kept.")
@click.option("--tensorboard", is_flag=True, help="Write OUT/tensorboard too.")
@click.option("--checkpoint-every", type=int, default=500, show_default=True, help="Steps.")
@QUIET
def train(
    recipe: str,
    epochs: int | None,
    changes: tuple[str, ...],
    out: Path | None,
    **given: Any,
) -> None:
    """Train a network by RECIPE.

    RECIPE is a name of `spairc list recipes`, or a TOML file of your own. A run that was stopped
    goes on where it was. When it is done, `spairc eval --checkpoint OUT` evaluates it.

    --parts N passes a batch through the network in N parts, where it does not fit the memory. On
    several GPUs: accelerate launch --num_processes 4 -m matchme_train RECIPE ...

    Example: spairc train supervised-cats --root SPair-71k --set optimiser.batch_size=16
    """
    from matchme_train.board import board, check_board
    from matchme_train.recipe import load_recipe, with_epochs
    from matchme_train.stages import length_of, stage_names
    from matchme_train.train import Request, prepare, register
    from matchme_train.train import train as run

    wants_board = given.pop("tensorboard")
    if wants_board:
        check_board()
    chosen = load_recipe(recipe, changes)
    chosen = chosen if epochs is None else with_epochs(chosen, epochs)
    folder = out or Path("runs") / Path(recipe).stem
    prepared = prepare(Request(recipe=chosen, out=folder, **given))
    if not prepared.how.team.leads:  # one of several processes talks
        run(prepared)
        return
    for note in prepared.notes:
        click.echo(note)
    click.echo(f"run: {folder}")
    names = stage_names(chosen, given["from_checkpoint"])
    lengths = {name: length_of(prepared.material, name) for name in names}
    with ExitStack() as stack:
        watches: list[Callable[[Progress], object]] = [
            _watcher(lengths, stack.enter_context(progress(sum(lengths.values()), "step")))
        ]
        if wants_board:
            watches.append(stack.enter_context(board(folder / "tensorboard")))
        done = run(prepared, lambda told: [watch(told) for watch in watches])
    _draw(done, chosen)
    _draw_labels(prepared, done)
    click.echo(_ending(prepared, register(done, chosen) if chosen.registers else None))


def recipes() -> str:
    """Return the recipes that ship with spairc: what each trains, and its published score."""
    from matchme_train.recipe import load_recipe, recipe_names
    from spairc.report.tables import Table, as_columns

    rows = []
    for name in recipe_names():
        recipe = load_recipe(name)
        score = "" if recipe.published is None else f"{recipe.published:.1f}"
        rows.append((name, recipe.description, recipe.dataset, score, recipe.model))
    header = ("recipe", "what it trains", "dataset", "PCK@0.1", "model")
    return as_columns(
        Table("PCK@0.1 on the test split as its paper reports it", header, tuple(rows))
    )


def _watcher(
    lengths: dict[str, int], advance: Callable[[int], object]
) -> "Callable[[Progress], None]":
    """Return what moves the bar along and prints a line after each epoch."""
    shown = 0
    before = {name: sum(list(lengths.values())[:place]) for place, name in enumerate(lengths)}

    def watch(told: "Progress") -> None:
        nonlocal shown
        now = before[told.stage] + told.epoch * told.steps + told.step
        advance(now - shown)
        shown = now
        if told.validation_pck is not None and not is_quiet():
            parts = ", ".join(f"{name} {value:.4g}" for name, value in told.losses.items())
            click.echo(
                f"{told.stage} epoch {told.epoch + 1} of {told.epochs}: {parts}; "
                f"validation PCK@0.1 {told.validation_pck:.1f}"
            )

    return watch


def _draw(done: "RunFolder", recipe: "Recipe") -> None:
    """Draw how PCK on the validation pairs went, into the run's folder."""
    import csv

    from matchme_train.tasks import TASKS
    from spairc.protocols import PROTOCOLS
    from spairc.report.figures.save import save
    from spairc.report.figures.training import validation

    metric = PROTOCOLS[TASKS[recipe.dataset].protocol].metric()
    with (done.path / "epochs.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for path in save(validation(rows, recipe.model, metric).figure, done.path, "validation"):
        if path.suffix == ".png":
            click.echo(f"figure: {path}")


def _draw_labels(prepared: "Prepared", done: "RunFolder") -> None:
    """Draw what MatchMe's annotators say of some pairs, into the run's folder."""
    from matchme_train.shown import shown_labels
    from spairc.report.canvas import save_picture
    from spairc.report.matches import label_picture, stacked

    for name, pairs in shown_labels(prepared.material, done, prepared.how):
        pictures = [
            label_picture(
                each.first,
                each.second,
                each.given[each.drawn],
                each.found[each.drawn],
                each.confidence[each.drawn],
                each.caption,
            )
            for each in pairs
        ]
        path = done.path / "pseudo-labels" / f"{name}.png"
        save_picture(path, stacked(pictures))
        click.echo(f"pseudo labels: {path}")


def _ending(prepared: "Prepared", registered: Path | None) -> str:
    """Return what is told of a finished run."""
    from matchme_train.tasks import TASKS

    recipe, out = prepared.request.recipe, prepared.request.out
    lines = [f"weights: {out / 'model_best.safetensors'}"]
    if registered is not None:
        lines.append(f"registered: {registered}")
    if recipe.published is not None:
        named = f" --dataset {recipe.dataset} --protocol {TASKS[recipe.dataset].protocol}"
        lines.append(
            f"its paper reports {recipe.published:.1f} on the test split: "
            f"spairc eval --model {recipe.model} --checkpoint {out} --root {prepared.request.root}"
            f"{'' if recipe.dataset == 'spair71k' else named}"
        )
    return "\n".join(lines)
