"""MatchMe's pseudo labels: absolute places are warped, and only confident ones are kept."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from matchme_train.annotate import Annotation, annotate, pseudo_labels
from matchme_train.losses import cross_entropies, distances, mean_of_pairs
from matchme_train.sections import Amplitudes
from matchme_train.targets import places
from matchme_train.warps import IDENTITY, draw_warp, origins_of_cells


def affine(*numbers: float) -> Tensor:
    return torch.cat([torch.tensor(numbers, dtype=torch.float64), IDENTITY[6:]]).unsqueeze(0)


def annotation(side: int = 6) -> Annotation:
    """Every cell's match is two columns to the right and half a row up; all are sure."""
    flow = torch.tensor([2.0, -0.5]).view(1, 2, 1, 1).expand(1, 2, side, side)
    return Annotation(places(flow), torch.ones(1, side, side))


def test_without_a_warp_labels_are_the_annotators_flow() -> None:
    labels = pseudo_labels(annotation(), IDENTITY.unsqueeze(0), 0.7)
    wanted = torch.tensor([2.0, -0.5]).view(1, 2, 1, 1).expand(1, 2, 6, 6)
    torch.testing.assert_close(labels.flow, wanted, atol=1e-5, rtol=0)
    assert bool(labels.mask.all())
    assert float(labels.mask.float().mean()) == 1


def test_a_mirrored_picture_keeps_its_places_and_changes_its_flow() -> None:
    # The warped picture is the original's mirror image: column c shows what column 5 - c did.
    labels = pseudo_labels(annotation(), affine(-1, 0, 0, 0, 1, 0), 0.7)
    columns = torch.arange(6.0)
    wanted = (5 - columns) + 2 - columns  # the same place, measured from the new cell
    torch.testing.assert_close(labels.flow[0, 0, 3], wanted, atol=1e-5, rtol=0)
    torch.testing.assert_close(labels.flow[0, 1], torch.full((6, 6), -0.5), atol=1e-5, rtol=0)


def test_a_shift_moves_confidence_along_and_masks_what_comes_from_outside() -> None:
    said = annotation()
    said.confidence[0, :, 4] = 0.2
    # Column c shows what column c + 1 did: a third of the half side.
    labels = pseudo_labels(said, affine(1, 0, 1 / 3, 0, 1, 0), 0.7)
    assert labels.mask[0, 2].tolist() == [True, True, True, False, True, False]
    torch.testing.assert_close(labels.flow[0, 0, 2, :5], torch.full((5,), 3.0), atol=1e-5, rtol=0)


def test_a_confidence_at_the_threshold_is_not_above_it() -> None:
    said = annotation()
    said.confidence[0, 1, 1] = 0.5
    mask = pseudo_labels(said, IDENTITY.unsqueeze(0), 0.5).mask[0]
    assert not mask[1, 1]
    assert int(mask.sum()) == 35


def test_labels_under_any_warp_are_a_loop_over_cells() -> None:
    draws = np.random.default_rng(5)
    warp = torch.from_numpy(draw_warp(Amplitudes(), draws, 0.7)).unsqueeze(0)
    mapping = torch.from_numpy(draws.uniform(0, 5, (1, 2, 6, 6)))
    sure = torch.from_numpy(draws.uniform(0, 1, (1, 6, 6)))
    labels = pseudo_labels(Annotation(mapping, sure), warp, 0.4)
    origin = ((origins_of_cells(warp, 6)[0] + 1) * 6 - 1) / 2  # in cells
    kept = 0
    for row in range(6):
        for column in range(6):
            x, y = origin[row, column].tolist()
            if not (-0.5 <= x <= 5.5 and -0.5 <= y <= 5.5):
                assert not labels.mask[0, row, column]
                continue
            nearest = sure[0, round(min(max(y, 0), 5)), round(min(max(x, 0), 5))]
            assert bool(labels.mask[0, row, column]) == bool(nearest > 0.4)
            kept += int(nearest > 0.4)
            inner_x, inner_y = (min(max(each, 0.0), 5.0) for each in (x, y))
            left, top = min(int(inner_x), 4), min(int(inner_y), 4)
            right, down = inner_x - left, inner_y - top
            corner = mapping[0, :, top : top + 2, left : left + 2]
            weights = torch.tensor(
                [
                    [(1 - down) * (1 - right), (1 - down) * right],
                    [down * (1 - right), down * right],
                ],
                dtype=torch.float64,
            )
            place = (corner * weights).sum(dim=(1, 2)) - torch.tensor([column, row])
            torch.testing.assert_close(labels.flow[0, :, row, column], place, atol=1e-9, rtol=0)
    assert kept > 5


class Fixed(nn.Module):
    """A network whose refined correlation is given."""

    def __init__(self, scores: Tensor, cells: int) -> None:
        super().__init__()
        self.scores, self.cells = scores, cells
        self.x_normal = nn.Parameter(torch.linspace(-1, 1, cells))
        self.y_normal = nn.Parameter(torch.linspace(-1, 1, cells))

    def encode_features(self, pictures: Tensor) -> tuple[Tensor, ...]:
        return (pictures,)

    def refined_correlation(self, *_: tuple[Tensor, ...]) -> Tensor:
        return self.scores


def test_confidence_is_the_largest_share_over_the_searched_picture() -> None:
    draws = torch.Generator().manual_seed(1)
    scores = 0.05 * torch.randn(1, 9, 9, generator=draws)
    said = annotate(Fixed(scores, 3), torch.zeros(1), torch.zeros(1))
    shares = np.exp(scores[0].double().numpy() / 0.02)
    shares /= shares.sum(axis=0)
    np.testing.assert_allclose(said.confidence[0].flatten(), shares.max(axis=0), rtol=1e-4)
    columns = np.arange(9) % 3
    np.testing.assert_allclose(said.mapping[0, 0].flatten(), columns @ shares, atol=1e-4)
    np.testing.assert_allclose(
        said.mapping[0, 1].flatten(), (np.arange(9) // 3) @ shares, atol=1e-4
    )
    assert not said.mapping.requires_grad


def test_the_masked_loss_has_the_gradient_of_finite_differences() -> None:
    draws = torch.Generator().manual_seed(3)
    said = annotation()
    said.confidence[0, 2:4] = 0.1
    labels = pseudo_labels(said, affine(1, 0.1, 0.05, -0.1, 0.9, 0), 0.7)
    flow = torch.randn(1, 2, 6, 6, generator=draws, dtype=torch.float64, requires_grad=True)

    def loss(given: Tensor) -> Tensor:
        return mean_of_pairs(distances(given, labels.flow.double()), labels.mask)

    assert torch.autograd.gradcheck(loss, (flow,))
    loss(flow).backward()  # type: ignore[no-untyped-call]  # torch's own
    assert flow.grad is not None
    assert bool((flow.grad[0, :, ~labels.mask[0]] == 0).all())


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_the_extremes_of_the_threshold_pass_all_or_nothing(threshold: float) -> None:
    said = annotation()
    said.confidence.fill_(0.5)
    labels = pseudo_labels(said, IDENTITY.unsqueeze(0), threshold)
    assert float(labels.mask.float().mean()) == 1 - threshold


def ridge(width: float) -> Tensor:
    """Scores of 5 x 5 cells: each cell's match is itself, less so the further away."""
    cells = torch.arange(25)
    apart = (cells % 5 - cells.view(-1, 1) % 5).square() + (
        (cells // 5 - cells.view(-1, 1) // 5).square()
    )
    return torch.exp(-apart / width).unsqueeze(0)


def test_a_kernel_reads_scores_times_a_gaussian_around_the_best() -> None:
    scores = 0.1 * ridge(6.0)
    said = annotate(Fixed(scores, 5), torch.zeros(1), torch.zeros(1), kernel=1.5)
    cell = 7  # row 1, column 2; its best is cell 7 as well
    weighted = np.empty(25)
    for other in range(25):
        squared = (other // 5 - 1) ** 2 + (other % 5 - 2) ** 2
        weighted[other] = scores[0, other, cell] * np.exp(-squared / (2 * 1.5**2))
    shares = np.exp(weighted / 0.02) / np.exp(weighted / 0.02).sum()
    assert said.confidence[0, 1, 2].item() == pytest.approx(shares.max(), rel=1e-4)
    assert said.mapping[0, 0, 1, 2].item() == pytest.approx(np.arange(25) % 5 @ shares, abs=1e-4)
    plain = annotate(Fixed(scores, 5), torch.zeros(1), torch.zeros(1))
    assert said.confidence[0, 1, 2] > plain.confidence[0, 1, 2]


def test_a_cell_whose_match_leads_elsewhere_has_no_confidence_where_cycles_are_asked() -> None:
    scores = ridge(1.0)
    scores[0, :, 24] = 0  # the last cell of the first picture ...
    scores[0, 0, 24] = 1.0  # ... is said to match the first of the second, which matches its own
    scores[0, 0, 0] = 2.0
    plain, cycled = (
        annotate(Fixed(scores, 5), torch.zeros(1), torch.zeros(1), cycle=cycle)
        for cycle in (False, True)
    )
    assert plain.confidence[0, 4, 4] > 0.7
    assert cycled.confidence[0, 4, 4] == 0
    assert torch.equal(cycled.confidence[0, 1:3, 1:3], plain.confidence[0, 1:3, 1:3])
    assert torch.equal(cycled.mapping, plain.mapping)


def test_warped_shares_are_those_of_where_a_cell_comes_from_and_still_add_up() -> None:
    draws = torch.Generator().manual_seed(4)
    network = Fixed(0.05 * torch.randn(1, 36, 36, generator=draws), 6)
    said = annotate(network, torch.zeros(1), torch.zeros(1), shares=True)
    assert said.shares is not None
    assert torch.equal(said.shares.amax(dim=1) > 0.2, said.confidence > 0.2)
    labels = pseudo_labels(said, affine(1, 0, 1 / 3, 0, 1, 0), 0.2)
    assert labels.shares is not None
    torch.testing.assert_close(labels.shares[..., :5], said.shares[..., 1:], atol=1e-5, rtol=0)
    torch.testing.assert_close(labels.shares.sum(dim=1), torch.ones(1, 6, 6))


def test_the_cross_entropy_is_a_sum_over_cells_and_least_for_equal_shares() -> None:
    draws = torch.Generator().manual_seed(2)
    scores = 0.05 * torch.randn(2, 9, 4, generator=draws)
    shares = torch.rand(2, 9, 2, 2, generator=draws).softmax(dim=1)
    found = cross_entropies(scores, shares, 0.02)
    chances = np.exp(scores.double().numpy() / 0.02)
    chances /= chances.sum(axis=1, keepdims=True)
    wanted = -sum(shares[1, j, 1, 0].item() * np.log(chances[1, j, 2]) for j in range(9))
    assert found[1, 1, 0].item() == pytest.approx(wanted, rel=1e-4)
    same = torch.from_numpy(chances).view(2, 9, 2, 2)
    entropy = cross_entropies(scores, same, 0.02)
    assert bool((entropy < cross_entropies(scores.flip(1), same, 0.02)).all())
