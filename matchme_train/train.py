"""A whole run: check everything, go through the stages, leave one file to use."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from matchme_train.checkpoints import RunFolder, open_folder
from matchme_train.cocr_settings import COCR
from matchme_train.labelling import keyed_pictures
from matchme_train.loop import How, Watch, run_stage
from matchme_train.networks import load_weights, make_network
from matchme_train.recipe import Recipe, as_record
from matchme_train.saliency import saliency_hash
from matchme_train.stages import FINE_TUNING, Material, clear, make_stage, stage_names
from matchme_train.tasks import TASKS
from matchme_train.team import join_team
from matchme_train.unlabelled import Pool, find_pool
from spairc.datasets import load_dataset
from spairc.datasets.check import check_pictures
from spairc.datasets.dataset import Dataset
from spairc.files import cache_folder, write_text, written_whole
from spairc.images import joint_hash
from spairc.lookup import lookup
from spairc.subset import share_of_pairs
from spairc.types import BadInput
from spairc_models.adapter import PRECISIONS
from spairc_models.checkpoint import read_checkpoint

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a person asks for."""

    recipe: Recipe
    root: Path  # the folder of the recipe's dataset
    out: Path
    unlabelled: Path | None = None
    from_checkpoint: str | None = None  # the first annotator, in place of the supervised stage
    device: str | None = None
    precision: str = "float32"
    workers: int = 0
    checkpoint_every: int = 500
    parts: int = 1  # forward passes of a step
    save_memory: bool = False  # compute again, on the way back, what need not be kept


@dataclass(frozen=True, eq=False)
class Prepared:
    """A run whose input was checked; nothing is written yet."""

    request: Request
    material: Material
    how: How
    records: Mapping[str, Mapping[str, Any]]
    notes: Sequence[str]  # what a person should know before it begins


def prepare(request: Request) -> Prepared:
    """Return a run after every check; only then is anything written.

    Raises:
        BadInput: If a file is missing or damaged, a class has too few unlabelled pictures, the
            request does not fit the recipe, or the networks cannot be made or started.
    """
    recipe = request.recipe
    _check_request(request)
    team, device = join_team(request.device)
    how = How(
        device=device,
        precision=request.precision,
        workers=request.workers,
        checkpoint_every=request.checkpoint_every,
        parts=request.parts,
        save_memory=request.save_memory,
        team=team,
    )
    network = make_network(recipe.network, recipe.seed)
    if request.from_checkpoint is not None:
        load_weights(network, request.from_checkpoint)
    training = labelled_part(load_dataset(recipe.dataset, request.root, split="trn"), recipe)
    validation = load_dataset(recipe.dataset, request.root, split="val")
    hashes = {each.split: joint_hash(check_pictures(each)) for each in (training, validation)}
    pool = _pool(request, training, validation)
    data = _data_record(request, training, validation, hashes, pool)
    material = Material(recipe, training, validation, pool, request.from_checkpoint)
    records = {
        "recipe.json": {
            "schema": SCHEMA,
            "package": version("spairc"),
            "precision": request.precision,
            "recipe": as_record(recipe),
        },
        "data.json": data,
    }
    notes = [
        f"labelled pairs: {len(training)} to learn from, {len(validation)} to choose by",
        *([] if pool is None else [pool.report()]),
    ]
    return Prepared(request, material, how, records, notes)


def train(prepared: Prepared, watch: Watch = lambda _: None) -> RunFolder:
    """Do what is missing of a run; return its folder.

    Args:
        prepared: What `prepare` returned.
        watch: Called after each step and each validation.

    Raises:
        BadInput: If the folder holds another run, a loss is not finite, or the disk is full.
    """
    folder = _folder_of(prepared)
    position = folder.read_position()
    names = stage_names(prepared.material.recipe, prepared.material.annotator)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        for number in range(position.stage, len(names)):
            stage = make_stage(prepared.material, number, folder, prepared.how)
            run_stage(stage, folder, position, prepared.how, watch)
            position.stage, position.epoch, position.step = number + 1, 0, 0
            clear(prepared.how)
    best = _best_of_method(names, {name: each["pck"] for name, each in position.best.items()})
    if folder.writes:
        with written_whole(folder.final) as temporary:
            shutil.copyfile(folder.best(best), temporary)
    prepared.how.team.wait()
    return folder


def register(folder: RunFolder, recipe: Recipe) -> Path:
    """Write into the user's cache that this run is what the model's name stands for.

    `trained/NAME.json` there holds the path of the weights and their SHA-256.

    Args:
        folder: Of the finished run.
        recipe: Names the model.

    Raises:
        BadInput: If the cache cannot be written.
    """
    path = cache_folder() / "trained" / f"{recipe.model}.json"
    told = {
        "checkpoint": str(folder.final.resolve()),
        "sha256": read_checkpoint(folder.final).sha256,
        "model": recipe.model,
        "network": as_record(recipe)["network"],
    }
    write_text(path, json.dumps(told, indent=2, ensure_ascii=False) + "\n")
    return path


def _folder_of(prepared: Prepared) -> RunFolder:
    """Return the run's folder, which the team's first process makes and writes to.

    Raises:
        BadInput: If it holds another run, or cannot be written.
    """
    out, team = prepared.request.out, prepared.how.team
    refusal = ""
    if team.leads:
        try:
            open_folder(out, prepared.records)
        except BadInput as error:
            refusal = str(error)
    refusal = team.told(refusal)
    if refusal:
        raise BadInput(refusal)
    return RunFolder(out, writes=team.leads)


def _best_of_method(names: Sequence[str], scores: Mapping[str, float]) -> str:
    """Return the stage whose best epoch validates highest, among those after the first teacher.

    A student that does not beat the teacher is told by its numbers, not replaced by the teacher.
    """
    if names[-1] == FINE_TUNING:  # the networks before it are means to it
        return names[-1]
    own = names[1:] if len(names) > 1 and names[0] == "supervised" else names
    return max(own, key=lambda name: scores[name])


def _check_request(request: Request) -> None:
    """Raise BadInput where options and recipe do not go together."""
    recipe = request.recipe
    looks = any(each is not None for each in (recipe.matchme, recipe.cocr, recipe.cycle))
    if looks != (request.unlabelled is not None):
        needs = "needs pictures without labels: give" if looks else "uses no"
        raise BadInput(f"recipe {recipe.model} {needs} --unlabelled DIR")
    teaches = looks or not (recipe.semimatch is None and recipe.warp_consistency is None)
    single = recipe.pseudo is not None and not recipe.pseudo.mutual
    goes_on = recipe.supervised is not None and recipe.supervised.begin == "checkpoint"
    if goes_on and request.from_checkpoint is None:
        raise BadInput(f"recipe {recipe.model} goes on with a trained one: give --from-checkpoint")
    if request.from_checkpoint is not None and not (teaches or single or goes_on):
        raise BadInput(f"recipe {recipe.model} has no annotator; --from-checkpoint is not for it")
    if request.from_checkpoint is None and recipe.supervised is None and (teaches or single):
        raise BadInput(f"recipe {recipe.model} has no first stage: give --from-checkpoint FILE")
    lookup(PRECISIONS, request.precision, "precision")
    if min(request.checkpoint_every, request.parts) < 1 or request.workers < 0:
        raise BadInput("--checkpoint-every and --parts must be at least 1, and --workers 0")
    if request.save_memory and recipe.network.name != "catspp":
        raise BadInput("--save-memory is for catspp, whose correlations are what fills the memory")


def labelled_part(training: Dataset, recipe: Recipe) -> Dataset:
    """Return the pairs whose labels the recipe uses, as they are learnt."""
    if recipe.labelled < 1:
        training = training.select(share_of_pairs(training.table, recipe.labelled))
    return TASKS[recipe.dataset].trained(training)


def _pool(request: Request, training: Dataset, validation: Dataset) -> Pool | None:
    """Return the pictures without labels, for a recipe that uses them."""
    settings = request.recipe.matchme or request.recipe.cocr or request.recipe.cycle
    if settings is None or request.unlabelled is None:
        return None
    test = load_dataset(request.recipe.dataset, request.root, split="test")
    categories = sorted(set(training.table.categories.tolist()))
    pool = find_pool(request.unlabelled, categories, [validation, test], settings.unlabelled)
    if isinstance(settings, COCR):
        maps = saliency_hash(settings, list(keyed_pictures(pool, training).values()))
        pool = replace(pool, hash=pool.hash + maps)
    return pool


def _data_record(
    request: Request,
    training: Dataset,
    validation: Dataset,
    hashes: Mapping[str, str],
    pool: Pool | None,
) -> dict[str, Any]:
    """Return what the run's record says of its data."""
    start = request.from_checkpoint
    return {
        "training": {"pairs": training.table.hash, "pictures": hashes["trn"]},
        "validation": {"pairs": validation.table.hash, "pictures": hashes["val"]},
        "unlabelled": None if pool is None else {"pictures": pool.hash, "counts": pool.counts},
        "from_checkpoint": None if start is None else read_checkpoint(start).sha256,
    }
