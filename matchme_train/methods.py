"""The ways to learn: each turns networks and batches into losses; the loop does the rest.

To add one: a class with `losses`, fields in `recipe`, and its stages in `stages`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from matchme_train import semimatch
from matchme_train.annotate import (
    Annotation,
    PseudoLabels,
    annotate,
    pseudo_labels,
    read_flow,
    refined,
    temperature_of,
)
from matchme_train.data import Batch
from matchme_train.losses import (
    cross_entropies,
    distances,
    end_point_error,
    grown,
    keep_rate,
    mean_of_pairs,
    selected_loss,
)
from matchme_train.recipe import MatchMe, Pseudo
from matchme_train.recipe import SemiMatch as SemiMatchSettings
from matchme_train.targets import labelled


@dataclass(frozen=True, eq=False)
class Losses:
    """What one step is to make smaller, and its parts."""

    total: Tensor
    labelled: Tensor  # end-point error at labelled cells, in cells
    pseudo: Tensor | None = None  # before its weight
    pass_rate: Tensor | None = None  # share of cells with a pseudo label


class Method(Protocol):
    """A way to learn."""

    def losses(
        self, networks: Sequence[nn.Module], pairs: Batch, unlabelled: Batch | None, epoch: int
    ) -> Losses:
        """Return the losses of a step.

        Args:
            networks: Those that are trained.
            pairs: Labelled ones.
            unlabelled: Pairs without labels; None for methods that use none.
            epoch: Of the stage, from 0.
        """
        ...


@dataclass(frozen=True)
class Supervised:
    """End-point error at labelled cells, as CATs, CATs++ and SCorrSAN's baseline."""

    def losses(
        self,
        networks: Sequence[nn.Module],
        pairs: Batch,
        unlabelled: Batch | None,  # noqa: ARG002 -- the interface's; it uses none
        epoch: int,  # noqa: ARG002 -- likewise
    ) -> Losses:
        """Return the losses of a step."""
        (network,) = networks
        error = _supervised(network(pairs.first, pairs.second), pairs)
        return Losses(error, error)


@dataclass(frozen=True, eq=False)
class Student:
    """MatchMe's student: L = L_U + lambda L_S.

    Labelled and unlabelled pairs go through the network one after the other, so that each has the
    batch statistics of its own kind; the paper does not tell.
    """

    annotator: nn.Module  # in evaluation mode, on the student's device
    settings: MatchMe

    def losses(
        self,
        networks: Sequence[nn.Module],
        pairs: Batch,
        unlabelled: Batch | None,
        epoch: int,  # noqa: ARG002 -- the interface's; noise grows by generation
    ) -> Losses:
        """Return the losses of a step."""
        (network,) = networks
        if unlabelled is None or unlabelled.clean_first is None or unlabelled.warp is None:
            raise TypeError("MatchMe's student needs pairs without labels")
        error = _supervised(network(pairs.first, pairs.second), pairs)
        said = self.said(unlabelled.clean_first, _given(unlabelled.clean_second))
        labels = pseudo_labels(said, unlabelled.warp, self.settings.threshold)
        apart = unlabelled.whole(_apart(network, unlabelled, labels))
        mask = unlabelled.whole(labels.mask)
        pseudo = mean_of_pairs(apart, mask)
        total = pseudo + self.settings.weight * error
        return Losses(total, error, pseudo.detach(), mask.float().mean())

    def said(self, first: Tensor, second: Tensor) -> Annotation:
        """Return what the annotator says of clean pairs, read as the settings tell."""
        settings = self.settings
        return annotate(
            self.annotator,
            first,
            second,
            kernel=settings.kernel,
            cycle=settings.cycle,
            shares=settings.distance == "cross-entropy",
        )


@dataclass(frozen=True, eq=False)
class NearKeyPoints:
    """SCorrSAN's pseudo labels: from a fixed teacher, or two networks from each other."""

    settings: Pseudo
    teacher: nn.Module | None  # None: two networks are trained

    def losses(
        self,
        networks: Sequence[nn.Module],
        pairs: Batch,
        unlabelled: Batch | None,  # noqa: ARG002 -- the interface's; it uses none
        epoch: int,
    ) -> Losses:
        """Return the losses of a step, those of two networks added."""
        flows = [network(pairs.first, pairs.second) for network in networks]
        errors = torch.stack([_supervised(flow, pairs) for flow in flows])
        total = errors.sum()
        mask = grown(labelled(pairs.whole(_given(pairs.target))), self.settings.width)
        if epoch < self.settings.start:
            return Losses(total, errors.mean())
        rate = keep_rate(
            epoch - self.settings.start,
            first=self.settings.first,
            last=self.settings.last,
            epochs=self.settings.ramp,
        )
        teachers = flows[::-1] if self.teacher is None else [self._taught(pairs)]
        pseudo = torch.stack(
            [
                selected_loss(pairs.whole(flow), pairs.whole(teacher), mask, rate)
                for flow, teacher in zip(flows, teachers, strict=True)
            ]
        )
        return Losses(
            total + self.settings.weight * pseudo.sum(),
            errors.mean(),
            pseudo.detach().mean(),
            rate * mask.float().mean(),
        )

    def _taught(self, pairs: Batch) -> Tensor:
        """Return the fixed teacher's flow."""
        with torch.no_grad():
            flow: Tensor = _given(self.teacher)(pairs.first, pairs.second)
            return flow


@dataclass(frozen=True)
class WeakAndStrong:
    """SemiMatch: the weak view's confident matches are labels of the strong view."""

    settings: SemiMatchSettings

    def losses(
        self,
        networks: Sequence[nn.Module],
        pairs: Batch,
        unlabelled: Batch | None,  # noqa: ARG002 -- the interface's; it uses none
        epoch: int,  # noqa: ARG002 -- likewise
    ) -> Losses:
        """Return the losses of a step."""
        (network,) = networks
        weak = refined(network, _given(pairs.clean_first), _given(pairs.clean_second))
        error = _supervised(read_flow(network, weak), pairs)
        labels = semimatch.labels_of(
            pairs.whole(self._in_planes(network, weak.detach())),
            pairs.whole(_given(pairs.first_box)),
            pairs.whole(_given(pairs.second_box)),
            pairs.whole(_given(pairs.warp).to(weak.device)).cpu(),
            threshold=self.settings.threshold,
        )
        strong = pairs.whole(self._in_planes(network, refined(network, pairs.first, pairs.second)))
        pseudo = self.settings.weight * semimatch.pseudo_loss(strong, labels)
        if self.settings.dynamic:
            pseudo = semimatch.balanced(pseudo, error)
        used = labels.used.float().mean()
        return Losses(error + pseudo, error, pseudo.detach() / self.settings.weight, used)

    @staticmethod
    def _in_planes(network: Any, scores: Tensor) -> Tensor:
        """Return (B, K, h, h) for (B, K, N) scores."""
        return torch.unflatten(scores, 2, (network.cells, network.cells))


def _apart(network: nn.Module, pairs: Batch, labels: PseudoLabels) -> Tensor:
    """Return (B, h, h): how far a student's answer is from its pseudo labels, at every cell."""
    if labels.shares is None:
        return distances(network(pairs.first, pairs.second), labels.flow)
    scores = refined(network, pairs.first, pairs.second)
    return cross_entropies(scores, labels.shares, temperature_of(network))


def _supervised(flow: Tensor, pairs: Batch) -> Tensor:
    """Return the end-point error at the cells that key points label."""
    target = pairs.whole(_given(pairs.target))
    return end_point_error(pairs.whole(flow), target, labelled(target))


def _given(value: Any) -> Any:
    """Return what a batch must have for a method; raise TypeError if it does not."""
    if value is None:
        raise TypeError("the data of this stage do not fit its method")
    return value
