"""CNNGeoU's cyclic loss against slow loops; where it counts; how its weight rises."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from matchme_train.consistency_settings import Cycle
from matchme_train.cycle import ByCycles, NoisyPairs, consistent, risen, way_back
from matchme_train.data import Batch, UnlabelledPair
from matchme_train.losses import mean_over
from matchme_train.sections import Network, Noise

Array = NDArray[np.float64]
SIDE = 4


def flows(seed: int, spread: float = 0.8) -> Tensor:
    draws = torch.Generator().manual_seed(seed)
    return spread * torch.randn(2, 2, SIDE, SIDE, generator=draws, dtype=torch.float64)


def slow_read(field: Array, x: float, y: float) -> Array:
    """(2,) a (2, rows, columns) field read bilinearly; outside, at the nearest place inside."""
    x, y = min(max(x, 0.0), SIDE - 1.0), min(max(y, 0.0), SIDE - 1.0)
    left, top = min(int(x), SIDE - 2), min(int(y), SIDE - 2)
    right, down = x - left, y - top
    upper = (1 - right) * field[:, top, left] + right * field[:, top, left + 1]
    lower = (1 - right) * field[:, top + 1, left] + right * field[:, top + 1, left + 1]
    return np.asarray((1 - down) * upper + down * lower)


def slow_cycle(forth: Array, back: Array, relative: float, absolute: float) -> tuple[float, int]:
    """The mean distance from where the way there and back began, and over how many cells."""
    missed = []
    for sample in range(len(forth)):
        for row in range(SIDE):
            for column in range(SIDE):
                out = forth[sample, :, row, column]
                home = slow_read(back[sample], column + out[0], row + out[1])
                end = np.array([column, row]) + out + home
                apart = math.dist(end, (column, row))
                if apart**2 <= relative * (out @ out + home @ home) + absolute:
                    missed.append(apart)
    return float(np.mean(missed)), len(missed)


@pytest.mark.parametrize(("relative", "absolute"), [(0.1, 0.5), (0.8, 0.0), (0.0, 2.0), (0.0, 1e9)])
def test_the_cycle_is_a_loop_over_cells(relative: float, absolute: float) -> None:
    forth, back = flows(1), flows(2)
    returned = way_back(forth, back)
    mask = consistent(forth, returned, relative=relative, absolute=absolute)
    apart = torch.linalg.vector_norm(forth + returned, dim=1)
    wanted, count = slow_cycle(forth.numpy(), back.numpy(), relative, absolute)
    assert int(mask.sum()) == count
    assert float(mean_over(apart, mask)) == pytest.approx(wanted)


def test_a_flow_and_its_inverse_make_no_loss() -> None:
    forth = torch.zeros(1, 2, SIDE, SIDE)
    forth[:, 0] = 1.5
    assert bool((forth + way_back(forth, -forth) == 0).all())


def test_the_gradient_is_that_of_finite_differences() -> None:
    forth, back = (flows(seed, 0.3).requires_grad_() for seed in (3, 4))
    yes = torch.ones(2, SIDE, SIDE, dtype=torch.bool)

    def loss(forth: Tensor, back: Tensor) -> Tensor:
        return mean_over(torch.linalg.vector_norm(forth + way_back(forth, back), dim=1), yes)

    assert torch.autograd.gradcheck(loss, (forth, back))


@pytest.mark.parametrize(("epoch", "share"), [(0, 0.1), (4, 0.5), (9, 1.0), (10, 1.0), (49, 1.0)])
def test_the_weight_rises_in_equal_steps(epoch: int, share: float) -> None:
    assert risen(epoch, 10) == pytest.approx(share)
    assert risen(epoch, 1) == 1


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

    def forward(self, first: Tensor, _: Tensor) -> Tensor:
        return first.new_zeros(2, 2, SIDE, SIDE)


def slow_flow(scores: Array) -> Array:
    """(2, rows, columns) from the mean place under a softmax at 1/50, cell by cell."""
    found = np.zeros((2, SIDE, SIDE))
    for cell in range(SIDE * SIDE):
        powers = np.exp((scores[:, cell] - scores[:, cell].max()) * 50)
        chances = powers / powers.sum()
        row, column = divmod(cell, SIDE)
        found[0, row, column] = sum(chances[k] * (k % SIDE) for k in range(SIDE**2)) - column
        found[1, row, column] = sum(chances[k] * (k // SIDE) for k in range(SIDE**2)) - row
    return found


@pytest.mark.parametrize(("epoch", "weight"), [(0, 0.2), (1, 0.4), (7, 0.8)])
def test_the_whole_loss_is_the_supervised_one_and_the_weighed_cycle(
    epoch: int, weight: float
) -> None:
    draws = torch.Generator().manual_seed(6)
    size = (2, SIDE**2, SIDE**2)
    forth, back = (0.02 * torch.randn(size, generator=draws, dtype=torch.float64) for _ in range(2))
    one, two = torch.ones(2), torch.full((2,), 2.0)
    target = torch.zeros(2, 2, SIDE, SIDE)
    target[0, 0, 1, 2] = 3.0
    pairs = Batch(("a", "b"), one, two, target, None, None, None, None, None)
    unlabelled = Batch(("c", "d"), one, two, None, None, None, None, None, None)
    network = ByPicture({(1, 2): forth, (2, 1): back})
    method = ByCycles(Cycle(weight=0.8, warm_up=4, absolute=2.0))
    losses = method.losses([network], pairs, unlabelled, epoch)
    ways = [np.stack([slow_flow(each) for each in scores.numpy()]) for scores in (forth, back)]
    wanted, count = slow_cycle(ways[0], ways[1], 0.1, 2.0)
    assert 0 < count < 2 * SIDE**2
    assert losses.pseudo is not None
    assert losses.pass_rate is not None
    assert float(losses.pseudo) == pytest.approx(wanted, rel=1e-5)
    assert float(losses.pass_rate) == pytest.approx(count / (2 * SIDE**2))
    assert float(losses.total.detach()) == pytest.approx(3 + weight * wanted, rel=1e-5)


def test_pairs_without_labels_must_be_there() -> None:
    one = torch.ones(1)
    pairs = Batch(("a",), one, one, torch.zeros(1), None, None, None, None, None)
    with pytest.raises(TypeError, match="pairs without labels"):
        ByCycles(Cycle()).losses([ByPicture({})], pairs, None, 0)


def test_pairs_without_labels_have_their_own_noise_each_epoch(unlabelled: Path) -> None:
    paths = sorted((unlabelled / "car").iterdir())
    pair = UnlabelledPair("p", paths[0], paths[1])
    clean, noisy = (
        NoisyPairs([pair], Network(name="cats", side=32, cells=2), Noise(chance=chance), (3, 1))
        for chance in (0.0, 0.6)
    )
    items = [noisy.item(epoch, 0) for epoch in range(3)]
    assert torch.equal(clean.item(0, 0).first, clean.item(1, 0).first)
    assert not torch.equal(items[0].first, items[1].first)
    assert torch.equal(noisy.item(1, 0).second, items[1].second)
    assert items[0].target is None
