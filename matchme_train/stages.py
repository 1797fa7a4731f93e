"""What a recipe's run consists of: its stages, each with its networks, data and method."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import nn

from matchme_train.checkpoints import RunFolder
from matchme_train.cocr_settings import COCR
from matchme_train.consistency_settings import Cycle, WarpConsistency
from matchme_train.cycle import ByCycles, NoisyPairs
from matchme_train.data import (
    Chances,
    Items,
    Labelled,
    TwoViews,
    UnlabelledPair,
    Warping,
    WithoutLabels,
)
from matchme_train.known_warps import Triplets
from matchme_train.labelling import (
    PSEUDO_PAIRS,
    Teacher,
    as_dataset,
    keyed_pictures,
    labels_by,
)
from matchme_train.loop import How, Stage
from matchme_train.methods import NearKeyPoints, Student, Supervised, WeakAndStrong
from matchme_train.mirrored import Mirrored
from matchme_train.networks import load_weights, make_network
from matchme_train.recipe import MatchMe, Pseudo, Recipe, SemiMatch
from matchme_train.saliency import saliency_of
from matchme_train.sections import Unlabelled
from matchme_train.tasks import TASKS
from matchme_train.unlabelled import Pool, draw_pairs
from matchme_train.validation import validation_pck
from matchme_train.warp_consistency import ByKnownWarps
from spairc.datasets.dataset import Dataset
from spairc.pairs import read_pairs, write_pairs
from spairc_models.catspp import CATsPlusPlus

SUPERVISED = "supervised"
PRE_TRAINING, FINE_TUNING = "pre-training", "fine-tuning"  # COCR's


@dataclass(frozen=True, eq=False)
class Material:
    """What a run learns from."""

    recipe: Recipe
    training: Dataset
    validation: Dataset
    pool: Pool | None  # pictures without labels, for MatchMe
    annotator: str | None  # a checkpoint in place of the supervised stage


def stage_names(recipe: Recipe, annotator: str | None) -> tuple[str, ...]:
    """Return the stages of a run in their order.

    Args:
        recipe: The run's.
        annotator: A checkpoint in place of the supervised stage.
    """
    first = recipe.supervised
    given = annotator is not None and (first is None or first.begin == "fresh")
    names = [] if first is None or given else [SUPERVISED]
    if recipe.matchme is not None:
        names += [f"generation-{number + 1}" for number in range(recipe.matchme.generations)]
    if recipe.pseudo is not None:
        names.append("mutual" if recipe.pseudo.mutual else "student")
    if recipe.semimatch is not None:
        names.append("semimatch")
    if recipe.cocr is not None:
        names += [PRE_TRAINING, FINE_TUNING]
    if recipe.warp_consistency is not None:
        names.append("warp-consistency")
    if recipe.cycle is not None:
        names.append("cycle")
    return tuple(names)


def length_of(material: Material, name: str) -> int:
    """Return how many steps a stage has."""
    recipe = material.recipe
    first = name == SUPERVISED
    if recipe.cocr is not None and not first:
        pairs = recipe.cocr.pairs if name == PRE_TRAINING else len(material.training)
        epochs = recipe.cocr.epochs if name == PRE_TRAINING else recipe.cocr.fine_tuning_epochs
        return epochs * -(-pairs // recipe.optimiser.batch_size)
    consistent = recipe.warp_consistency or recipe.cycle
    method = recipe.matchme or recipe.pseudo or recipe.semimatch or consistent
    section = recipe.supervised if first else method
    own = recipe.optimiser if first else getattr(method, "optimiser", recipe.optimiser)
    steps = -(-len(material.training) // own.batch_size)
    return 0 if section is None else section.epochs * steps


def make_stage(material: Material, number: int, folder: RunFolder, how: How) -> Stage:
    """Return a stage, its networks where they begin.

    Args:
        material: What is learnt from.
        number: Of the stage, from 0.
        folder: Holds the best weights of the stages before.
        how: The device.

    Raises:
        BadInput: If weights are not to be had or do not fit.
    """
    recipe = material.recipe
    names = stage_names(recipe, material.annotator)
    before = str(folder.best(names[number - 1])) if number else material.annotator
    maker = _Maker(material, number, names[number], before, how)
    if names[number] == SUPERVISED:
        return maker.supervised()
    if recipe.matchme is not None:
        return maker.generation(recipe.matchme, number - len(names) + recipe.matchme.generations)
    if recipe.pseudo is not None:
        return maker.near_key_points(recipe.pseudo)
    if recipe.semimatch is not None:
        return maker.semimatch(recipe.semimatch)
    if recipe.warp_consistency is not None or recipe.cycle is not None:
        return maker.consistent(recipe.warp_consistency or recipe.cycle)
    if recipe.cocr is not None:
        first = names[number] == PRE_TRAINING
        return maker.pre_training(recipe.cocr, folder) if first else maker.fine_tuning(recipe.cocr)
    raise ValueError(f"the recipe has no stage {number}")


@dataclass(frozen=True, eq=False)
class _Maker:
    """What all stages of a run have in common."""

    material: Material
    number: int
    name: str
    before: str | None  # the best weights of the stage before, or the first annotator's
    how: How

    def supervised(self) -> Stage:
        """Return the stage on labelled pairs alone."""
        settings = self.material.recipe.supervised
        if settings is None:
            raise ValueError("the recipe has no supervised stage")
        noise = settings.noise
        chances = Chances(noise.photometric, noise.chance, noise.crop)
        return self._stage(
            networks=[self._network(self.before if settings.begin == "checkpoint" else None)],
            method=Supervised(),
            labelled=self._labelled(chances),
            epochs=settings.epochs,
        )

    def generation(self, settings: MatchMe, generation: int) -> Stage:
        """Return one of MatchMe's generations, from 0; each has stronger noise."""
        recipe = self.material.recipe
        chance = settings.chance * settings.strengths[generation]
        warping = Warping(settings.warp, settings.warp_strengths[generation])
        student = self._network() if settings.fresh else self._network(self.before)
        labelled = self._labelled(Chances(settings.photometric, chance, settings.crop), warping)
        pairs = self._unlabelled(settings.unlabelled, len(labelled), settings.batch_size)
        chances = Chances(settings.photometric, chance)
        key = (recipe.seed, self.number, 1)
        return self._stage(
            networks=[student],
            method=Student(self._frozen(), settings),
            labelled=labelled,
            unlabelled=WithoutLabels(pairs, recipe.network, chances, key, warping),
            unlabelled_batch=settings.batch_size,
            epochs=settings.epochs,
        )

    def near_key_points(self, settings: Pseudo) -> Stage:
        """Return SCorrSAN's stage: two networks, or a fresh one and the one before."""
        networks = [self._network()]
        if settings.mutual:
            networks.append(self._network(another=True))
        noise = settings.noise
        return self._stage(
            networks=networks,
            method=NearKeyPoints(settings, None if settings.mutual else self._frozen()),
            labelled=self._labelled(Chances(noise.photometric, noise.chance, noise.crop)),
            epochs=settings.epochs,
        )

    def semimatch(self, settings: SemiMatch) -> Stage:
        """Return SemiMatch's stage, which goes on with the network of the one before."""
        recipe = self.material.recipe
        key = (recipe.seed, self.number, 0)
        return self._stage(
            networks=[self._network(self.before)],
            method=WeakAndStrong(settings),
            labelled=TwoViews(self.material.training, recipe.network, settings, key),
            epochs=settings.epochs,
            optimiser=settings.optimiser,
        )

    def pre_training(self, settings: COCR, folder: RunFolder) -> Stage:
        """Return COCR's stage on the pairs that the network before it labels."""
        recipe, pool = self.material.recipe, self.material.pool
        if pool is None:
            raise ValueError("COCR needs pictures without labels")
        key = (recipe.seed, self.number)
        pictures = keyed_pictures(pool, self.material.training)
        if self.how.team.leads and not (folder.path / PSEUDO_PAIRS).is_file():
            saliency = saliency_of(settings, self._network().eval(), list(pictures.values()))
            teacher = Teacher(self._frozen(), saliency, recipe.network.side, settings)
            labels = labels_by(teacher, pool, self.material.training, key)
            write_pairs(folder.path / PSEUDO_PAIRS, labels)
            folder.log(pseudo_pairs=len(labels), matches=len(labels.source_points))
        self.how.team.wait()
        pseudo = as_dataset(read_pairs(folder.path / PSEUDO_PAIRS), pictures)
        noise = settings.noise
        chances = Chances(noise.photometric, noise.chance, noise.crop)
        return self._stage(
            networks=[self._network()],
            method=Supervised(),
            labelled=Labelled(pseudo, recipe.network, chances, (*key, 0)),
            epochs=settings.epochs,
        )

    def fine_tuning(self, settings: COCR) -> Stage:
        """Return COCR's last stage, which goes on with the pre-trained network."""
        noise = settings.noise
        return self._stage(
            networks=[self._network(self.before)],
            method=Supervised(),
            labelled=self._labelled(Chances(noise.photometric, noise.chance, noise.crop)),
            epochs=settings.fine_tuning_epochs,
        )

    def consistent(self, settings: WarpConsistency | Cycle | None) -> Stage:
        """Return the stage of PWarpC or of CNNGeoU."""
        if isinstance(settings, WarpConsistency):
            return self._known_warps(settings)
        if settings is None:
            raise ValueError("the recipe has no such method")
        return self._cycles(settings)

    def _known_warps(self, settings: WarpConsistency) -> Stage:
        """Return PWarpC's stage, which goes on with the network of the one before."""
        recipe = self.material.recipe
        key = (recipe.seed, self.number, 0)
        return self._stage(
            networks=[self._network(self.before)],
            method=ByKnownWarps(settings),
            labelled=Triplets(self.material.training, recipe.network, settings, key),
            epochs=settings.epochs,
            optimiser=settings.optimiser,
        )

    def _cycles(self, settings: Cycle) -> Stage:
        """Return CNNGeoU's stage, which goes on with the network of the one before (open)."""
        recipe, noise = self.material.recipe, settings.noise
        labelled = self._labelled(Chances(noise.photometric, noise.chance, noise.crop))
        pairs = self._unlabelled(settings.unlabelled, len(labelled), settings.batch_size)
        key = (recipe.seed, self.number, 1)
        return self._stage(
            networks=[self._network(self.before)],
            method=ByCycles(settings),
            labelled=labelled,
            unlabelled=NoisyPairs(pairs, recipe.network, noise, key),
            unlabelled_batch=settings.batch_size,
            epochs=settings.epochs,
        )

    def _unlabelled(self, chosen: Unlabelled, labelled: int, size: int) -> list[UnlabelledPair]:
        """Return pairs without labels for an epoch of steps over so many labelled ones."""
        recipe, pool = self.material.recipe, self.material.pool
        if pool is None:
            raise ValueError("this stage needs pictures without labels")
        count = -(-labelled // recipe.optimiser.batch_size) * size
        draws = np.random.default_rng((recipe.seed, self.number))
        return draw_pairs(pool, self.material.training, chosen, count, draws)

    def _stage(self, **parts: object) -> Stage:
        """Return the stage with what is the same in all."""
        recipe = self.material.recipe
        validate = partial(
            validation_pck,
            recipe=recipe.network,
            dataset=self.material.validation,
            protocol=TASKS[recipe.dataset].protocol,
        )
        common = {"name": self.name, "number": self.number, "seed": recipe.seed}
        defaults = {"optimiser": recipe.optimiser, "validate": validate}
        return Stage(**{**common, **defaults, **parts})  # type: ignore[arg-type]  # as named there

    def _labelled(self, chances: Chances, warping: Warping | None = None) -> Items:
        """Return the labelled pairs with this noise."""
        recipe = self.material.recipe
        key = (recipe.seed, self.number, 0)
        pairs = Labelled(self.material.training, recipe.network, chances, key, warping)
        return Mirrored(pairs) if TASKS[recipe.dataset].mirrored else pairs

    def _network(self, weights: str | None = None, *, another: bool = False) -> nn.Module:
        """Return a fresh network of this stage, or one with these weights, on the device."""
        recipe = self.material.recipe
        words = np.random.SeedSequence((recipe.seed, self.number, int(another))).generate_state(1)
        network = make_network(recipe.network, int(words[0]))
        if weights is not None:
            load_weights(network, weights)
        if isinstance(network, CATsPlusPlus):
            network.hpn_learner.saves_memory = self.how.save_memory
        return network.to(self.how.device)

    def _frozen(self) -> nn.Module:
        """Return the best network of the stage before, which is not trained any more."""
        network = self._network(self.before).eval()
        return network.requires_grad_(requires_grad=False)


def clear(how: How) -> None:
    """Give back what a finished stage held on a GPU."""
    if how.device.type == "cuda":
        torch.cuda.empty_cache()
