"""PWarpC's losses against slow loops written from its paper and program."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from matchme_train.consistency_settings import WarpConsistency
from matchme_train.data import Batch
from matchme_train.losses import mean_over
from matchme_train.warp_consistency import (
    ByKnownWarps,
    balanced,
    composed,
    inside,
    most_probable_loss,
    probabilities,
    smoothed_cross_entropy,
    truth_by_way,
)

Array = NDArray[np.float64]
SIDE = 5
CELLS = SIDE * SIDE


def random(*shape: int, seed: int = 1) -> Tensor:
    draws = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=draws, dtype=torch.float64)


def known_places() -> Tensor:
    """Places in, on the edge of and beyond the cells, whole and broken numbers."""
    draws = torch.Generator().manual_seed(7)
    known = torch.rand(2, 2, SIDE, SIDE, generator=draws, dtype=torch.float64) * 6 - 1
    known[0, :, 0, 0] = torch.tensor([2.0, 3.0])
    known[0, :, 0, 1] = torch.tensor([4.0, 4.0])
    known[0, :, 0, 2] = torch.tensor([0.0, 3.25])
    known[0, :, 0, 3] = torch.tensor([4.0, 0.5])
    known[1, :, 2, 2] = torch.tensor([4.01, 1.0])
    return known


def slow_probabilities(scores: Array) -> Array:
    """(K, N) scores, each column a softmax at 1/50."""
    found = np.zeros_like(scores)
    for column in range(scores.shape[1]):
        powers = [math.exp((each - scores[:, column].max()) * 50) for each in scores[:, column]]
        found[:, column] = [power / sum(powers) for power in powers]
    return found


def slow_product(back: Array, forth: Array) -> Array:
    found = np.zeros((back.shape[0], forth.shape[1]))
    for t in range(back.shape[0]):
        for n in range(forth.shape[1]):
            found[t, n] = sum(back[t, k] * forth[k, n] for k in range(forth.shape[0]))
    return found


def counts(x: float, y: float) -> bool:
    return 0 <= x <= SIDE - 1 and 0 <= y <= SIDE - 1


def slow_truth_map(x: float, y: float) -> Array:
    """The smoothed truth of a place, (rows, columns)."""
    left, top = math.floor(x), math.floor(y)
    near = {
        (row, column): 1 / max(math.dist((x, y), (column, row)), 1e-5)
        for row in (top, top + 1)
        for column in (left, left + 1)
    }
    sharp = np.zeros((SIDE, SIDE))
    for (row, column), share in near.items():
        if row < SIDE and column < SIDE:
            sharp[row, column] = share / sum(near.values())
    deviation = 3 / 2 / 2.354
    kernel = {
        (dy, dx): math.exp(-(dx * dx + dy * dy) / 2 / deviation**2)
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
    }
    blurred = np.zeros((SIDE, SIDE))
    for row in range(SIDE):
        for column in range(SIDE):
            for (dy, dx), weight in kernel.items():
                if 0 <= row + dy < SIDE and 0 <= column + dx < SIDE:
                    blurred[row, column] += weight * sharp[row + dy, column + dx]
    return blurred / sum(kernel.values())


def slow_losses(forth: Array, back: Array, direct: Array, known: Array) -> tuple[float, float]:
    """Both losses of a batch of scores: by way of the second picture, and direct."""
    truths, straight = [], []
    for sample in range(len(forth)):
        product = slow_product(slow_probabilities(back[sample]), slow_probabilities(forth[sample]))
        chances = slow_probabilities(direct[sample])
        for cell in range(CELLS):
            x, y = known[sample, :, cell // SIDE, cell % SIDE]
            if not counts(x, y):
                continue
            truths.append(product[round(y) * SIDE + round(x), cell])
            wanted = slow_truth_map(x, y).ravel()
            terms = [
                -share * math.log(chance + 1e-7)
                for share, chance in zip(wanted, chances[:, cell], strict=True)
            ]
            straight.append(sum(term for term in terms if term > 0))
    kept = sorted(truths, reverse=True)[: int(0.2 * len(truths))]
    by_way = float(np.mean([-math.log(truth + 1e-7) for truth in kept]))
    return by_way, float(np.mean(straight))


@pytest.fixture
def scores() -> tuple[Tensor, Tensor, Tensor]:
    """Refined correlations with heights that make a softmax at 1/50 neither flat nor sharp."""
    forth, back, direct = (0.03 * random(2, CELLS, CELLS, seed=seed) for seed in (1, 2, 3))
    return forth, back, direct


def test_the_losses_are_loops_over_cells(scores: tuple[Tensor, Tensor, Tensor]) -> None:
    known = known_places()
    forth, back, direct = (probabilities(each, 1 / 50) for each in scores)
    mask = inside(known)
    assert 10 < int(mask.sum()) < mask.numel()
    truth = truth_by_way(composed(forth, back), known)
    by_way = most_probable_loss(truth, mask, 0.2)
    straight = smoothed_cross_entropy(direct, known)[mask].mean()
    wanted = slow_losses(*(each.numpy() for each in (*scores, known)))
    assert (float(by_way), float(straight)) == pytest.approx(wanted, rel=1e-9)


def test_losses_and_gradients_are_those_that_the_published_program_computed() -> None:
    draws = np.random.Generator(np.random.PCG64(11))
    heights = [(0.04 * draws.standard_normal((2, 36, 36))).astype(np.float32) for _ in range(3)]
    scores = [torch.from_numpy(each).requires_grad_() for each in heights]
    known = torch.from_numpy(draws.uniform(-1, 6, (2, 2, 6, 6)).astype(np.float32))
    forth, back, direct = (probabilities(each, 0.02) for each in scores)
    mask = inside(known)
    by_way = most_probable_loss(truth_by_way(composed(forth, back), known), mask, 0.2)
    straight = mean_over(smoothed_cross_entropy(direct, known), mask)
    total = by_way + balanced(straight, by_way)
    found = [float(each.detach()) for each in (by_way, straight, total)]
    assert found == pytest.approx([2.725841522, 4.891501427, 5.451682091], rel=1e-5)
    norms = [float(each.norm()) for each in torch.autograd.grad(total, scores)]
    assert norms == pytest.approx([9.110621452, 11.440392494, 2.251818180], rel=1e-5)


@pytest.mark.parametrize(
    ("x", "y"), [(2.0, 3.0), (1.3, 2.9), (0.0, 0.0), (4.0, 4.0), (0.2, 4.0), (4.0, 2.5), (3.5, 0.5)]
)
def test_the_smoothed_truth_of_one_place_is_the_published_map(x: float, y: float) -> None:
    known = torch.tensor([x, y], dtype=torch.float64).view(1, 2, 1, 1).expand(1, 2, SIDE, SIDE)
    # The loss is linear in the logarithm: one cell's probability at a time gives its share.
    found = np.zeros(CELLS)
    for cell in range(CELLS):
        chances = torch.ones(1, CELLS, CELLS, dtype=torch.float64) - 1e-7
        chances[0, cell] = math.exp(-1) - 1e-7
        found[cell] = float(smoothed_cross_entropy(chances, known)[0, 0, 0])
    np.testing.assert_allclose(found.reshape(SIDE, SIDE), slow_truth_map(x, y), atol=1e-9)


def test_a_certain_match_costs_nothing_and_never_less() -> None:
    chances = torch.ones(2, CELLS, CELLS)
    assert bool((smoothed_cross_entropy(chances, known_places().float()) == 0).all())


def test_only_the_most_probable_share_counts_and_at_least_one_cell() -> None:
    truth = torch.tensor([[[0.1, 0.9], [0.5, 0.99]]])
    mask = torch.tensor([[[True, True], [True, False]]])
    assert float(most_probable_loss(truth, mask, 0.67)) == pytest.approx(
        -(math.log(0.9) + math.log(0.5)) / 2, rel=1e-5
    )
    assert float(most_probable_loss(truth, mask, 0.01)) == pytest.approx(-math.log(0.9), rel=1e-5)
    assert float(most_probable_loss(truth, ~mask & mask, 0.5)) == 0


def by_way_loss(forth: Tensor, back: Tensor, known: Tensor) -> Tensor:
    product = composed(probabilities(forth, 0.02), probabilities(back, 0.02))
    return most_probable_loss(truth_by_way(product, known), inside(known), 0.2)


def direct_loss(direct: Tensor, known: Tensor) -> Tensor:
    wrong = smoothed_cross_entropy(probabilities(direct, 0.02), known)
    return wrong[inside(known)].mean()


@pytest.mark.parametrize("loss", [by_way_loss, direct_loss])
def test_gradients_are_those_of_finite_differences(
    loss: Callable[..., Tensor], scores: tuple[Tensor, Tensor, Tensor]
) -> None:
    given = [each[:1].clone().requires_grad_() for each in scores]
    known = known_places()[:1]
    asked = given[:2] if loss is by_way_loss else given[2:]
    assert torch.autograd.gradcheck(
        lambda *scores: loss(*scores, known), tuple(asked), fast_mode=True
    )


def test_a_balanced_loss_has_the_others_value_and_its_own_gradient() -> None:
    loss, size = torch.tensor(2.0, requires_grad=True), torch.tensor(6.0, requires_grad=True)
    value = balanced(3 * loss, size)
    value.backward()  # type: ignore[no-untyped-call]  # torch's own
    assert float(value.detach()) == pytest.approx(6)
    assert loss.grad is not None
    assert float(loss.grad) == pytest.approx(3 * 6 / 6)
    assert size.grad is None


class ByPicture(nn.Module):
    """A network of which every two pictures have a refined correlation of their own."""

    cells = SIDE

    def __init__(self, scores: dict[tuple[int, int], Tensor]) -> None:
        super().__init__()
        self.scores = scores
        self.x_normal = nn.Parameter(torch.linspace(-1, 1, SIDE, dtype=torch.float64))
        self.y_normal = nn.Parameter(torch.linspace(-1, 1, SIDE, dtype=torch.float64))

    def encode_features(self, pictures: Tensor) -> tuple[Tensor, ...]:
        return (pictures,)

    def refined_correlation(self, first: tuple[Tensor], second: tuple[Tensor]) -> Tensor:
        return self.scores[int(first[0][0]), int(second[0][0])]


FIRST, SECOND, WARPED = (torch.full((2,), float(number)) for number in (1, 2, 3))


@pytest.fixture
def case(scores: tuple[Tensor, Tensor, Tensor]) -> tuple[ByPicture, Batch]:
    forth, back, direct = scores
    flow = 0.02 * random(2, CELLS, CELLS, seed=9)
    network = ByPicture({(3, 2): forth, (2, 1): back, (3, 1): direct, (1, 2): flow})
    target = torch.zeros(2, 2, SIDE, SIDE, dtype=torch.float64)
    target[:, :, 1, 2], target[1, :, 3, 3] = 1.5, -0.75
    known = known_places()
    ids = ("a", "b")
    batch = Batch(ids, WARPED, SECOND, target, FIRST, None, None, None, None, known=known)
    return network, batch


def slow_error(network: ByPicture, target: Array) -> float:
    """Mean distance at labelled cells; the flow is the mean place under the softmax."""
    apart = []
    for sample, scores in enumerate(network.scores[1, 2].numpy()):
        chances = slow_probabilities(scores)
        for cell in range(CELLS):
            row, column = divmod(cell, SIDE)
            wanted = target[sample, :, row, column]
            if wanted.any():
                x, y = (sum(chances[k, cell] * each(k) for k in range(CELLS)) for each in AXES)
                apart.append(math.dist((x - column, y - row), wanted))
    return float(np.mean(apart))


AXES: tuple[Callable[[int], int], ...] = (lambda k: k % SIDE, lambda k: k // SIDE)


@pytest.mark.parametrize(
    ("changes", "total"),
    [
        ({}, lambda by_way, _, __: 4 * by_way),  # each balance doubles what stands before it
        ({"balance_labelled": False}, lambda by_way, _, error: 2 * by_way + error),
        (
            {"balance_labelled": False, "labelled_weight": 3.0, "balance": False},
            lambda by_way, straight, error: by_way + straight + 3 * error,
        ),
    ],
)
def test_the_whole_loss_is_put_together_as_the_settings_say(
    changes: dict[str, bool | float],
    total: Callable[[float, float, float], float],
    case: tuple[ByPicture, Batch],
) -> None:
    network, pairs = case
    assert pairs.known is not None
    assert pairs.target is not None
    settings = replace(WarpConsistency(), **changes)  # type: ignore[arg-type]  # fields of it
    losses = ByKnownWarps(settings).losses([network], pairs, None, 0)
    forth, back, direct = (network.scores[key].numpy() for key in ((3, 2), (2, 1), (3, 1)))
    by_way, straight = slow_losses(forth, back, direct, pairs.known.numpy())
    error = slow_error(network, pairs.target.numpy())
    assert float(losses.labelled.detach()) == pytest.approx(error, rel=1e-6)
    assert float(losses.total.detach()) == pytest.approx(total(by_way, straight, error), rel=1e-5)
    assert losses.pass_rate is not None
    assert float(losses.pass_rate) == pytest.approx(
        0.2 * float(inside(pairs.known).double().mean())
    )


def test_pairs_without_a_known_warp_are_refused(case: tuple[ByPicture, Batch]) -> None:
    network, pairs = case
    with pytest.raises(TypeError, match="known warp"):
        ByKnownWarps(WarpConsistency()).losses([network], replace(pairs, known=None), None, 0)
