"""Training targets and losses against stored outputs of the published programs and slow loops."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from matchme_train.losses import (
    distances,
    end_point_error,
    grown,
    keep_rate,
    mean_of_pairs,
    selected_loss,
)
from matchme_train.targets import flow_to, labelled, places, target_flow

SETTINGS = {"cats": (256, 16, 35), "catspp": (512, 32, 35), "scorrsan": (256, 64, 11)}
Golden = Mapping[str, NDArray[Any]]


@pytest.fixture(scope="module")
def golden(shared: Path) -> Golden:
    with np.load(shared / "golden" / "training.npz") as file:
        return dict(file)


def tensor(golden: Golden, name: str) -> Tensor:
    return torch.from_numpy(np.array(golden[name], dtype=np.float32))


def slow_target(given: Tensor, answers: Tensor, side: int, cells: int, field: int) -> Tensor:
    """Cell by cell, from the rule's words."""
    step = side // cells
    flow = torch.zeros(2, cells, cells)
    for row in range(cells):
        for column in range(cells):
            centre = torch.tensor([column * step + step // 2, row * step + step // 2])
            inside = [
                index
                for index, point in enumerate(given)
                if max((point - centre).abs().tolist()) <= field // 2
            ]
            if inside:
                flow[:, row, column] = (answers[inside[-1]] - given[inside].mean(dim=0)) / step
    return flow


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("sample", [0, 1])
def test_target_flows_are_the_published_programs(golden: Golden, name: str, sample: int) -> None:
    side, cells, field = SETTINGS[name]
    ends = [tensor(golden, f"points{side}_{end}_{'ab'[sample]}") for end in ("query", "answer")]
    flow = target_flow(*ends, cells=cells, side=side, field=field)
    wanted = tensor(golden, f"{name}_target_flow")[sample]
    assert torch.equal(flow == 0, wanted == 0)
    torch.testing.assert_close(flow, wanted, atol=2e-6, rtol=1e-6)
    assert int(labelled(flow.unsqueeze(0)).sum()) == golden[f"{name}_epe_cells"][sample]


def test_a_target_flow_is_what_a_loop_over_cells_gives() -> None:
    draws = np.random.default_rng(4)
    given, answers = (torch.from_numpy(draws.uniform(0, 48, (9, 2))).float() for _ in range(2))
    flow = target_flow(given, answers, cells=6, side=48, field=13)
    torch.testing.assert_close(flow, slow_target(given, answers, 48, 6, 13))
    assert bool((flow == 0).any())
    assert bool((flow != 0).any())


def test_a_pair_without_points_labels_nothing() -> None:
    flow = target_flow(torch.zeros(0, 2), torch.zeros(0, 2), cells=3, side=24, field=9)
    assert not labelled(flow.unsqueeze(0)).any()


def test_places_are_columns_and_rows_plus_flow() -> None:
    flow = torch.zeros(1, 2, 3, 3)
    flow[0, :, 1, 2] = torch.tensor([0.5, -2.0])
    assert places(flow)[0, :, 1, 2].tolist() == [2.5, -1.0]
    assert torch.equal(flow_to(places(flow)), flow)


@pytest.mark.parametrize("name", SETTINGS)
def test_the_end_point_error_and_its_gradient_are_the_published_ones(
    golden: Golden, name: str
) -> None:
    flow = tensor(golden, f"{name}_predicted_flow").requires_grad_()
    target = tensor(golden, f"{name}_target_flow")
    loss = end_point_error(flow, target, labelled(target))
    loss.backward()  # type: ignore[no-untyped-call]  # torch's own
    assert flow.grad is not None
    assert loss.item() == pytest.approx(float(golden[f"{name}_epe"]), rel=1e-6)
    assert float(flow.grad.norm()) == pytest.approx(
        float(golden[f"{name}_epe_gradient_norm"]), rel=1e-6
    )


@pytest.mark.parametrize(("row", "rate"), [(0, 0.2), (1, 0.9)])
@pytest.mark.parametrize("network", [0, 1])
def test_scorrsans_selected_loss_and_gradient_are_the_published_ones(
    golden: Golden, row: int, rate: float, network: int
) -> None:
    names = ["scorrsan_predicted_flow", "scorrsan_predicted_flow_2"]
    flow, peer = (tensor(golden, each) for each in (names if network == 0 else names[::-1]))
    target = tensor(golden, "scorrsan_target_flow")
    mask = grown(labelled(target), 7)
    assert np.array_equal(mask.numpy(), golden["scorrsan_pseudo_mask"])
    loss = selected_loss(flow.requires_grad_(), peer, mask, rate)
    loss.backward()  # type: ignore[no-untyped-call]  # torch's own
    assert flow.grad is not None
    wanted = golden["scorrsan_pseudo_selected"][row, network]
    assert loss.item() == pytest.approx(float(wanted), rel=1e-6)
    norm = golden["scorrsan_pseudo_selected_gradient_norm"][row, network]
    assert float(flow.grad.norm()) == pytest.approx(float(norm), rel=1e-5)
    whole = end_point_error(flow, target, labelled(target)) + 10 * loss
    total = golden["scorrsan_total_loss"][row, network]
    assert whole.item() == pytest.approx(float(total), rel=1e-6)
    assert int(rate * int(mask.sum())) == golden["scorrsan_pseudo_selected_count"][row]


def test_the_share_of_kept_labels_rises_as_published(golden: Golden) -> None:
    rates = [keep_rate(epoch, first=0.2, last=0.9, epochs=10) for epoch in range(12)]
    np.testing.assert_allclose(rates, golden["scorrsan_keep_schedule"], rtol=1e-6)


def test_the_selected_loss_is_the_mean_of_the_smallest() -> None:
    flow = torch.zeros(1, 2, 2, 3)
    flow[0, 0] = torch.tensor([[3.0, 1.0, 50.0], [2.0, 9.0, 4.0]])
    mask = flow[0, 0].unsqueeze(0) != 50
    assert float(selected_loss(flow, torch.zeros_like(flow), mask, 0.5)) == pytest.approx(1.5)
    assert float(selected_loss(flow, torch.zeros_like(flow), mask, 0.01)) == 1


def test_a_mask_grows_by_half_the_width_on_each_side() -> None:
    mask = torch.zeros(1, 9, 11, dtype=torch.bool)
    mask[0, 4, 9] = True
    wanted = torch.zeros_like(mask)
    wanted[0, 2:7, 7:] = True
    assert torch.equal(grown(mask, 5), wanted)


def test_the_mean_of_pairs_weighs_pairs_alike_and_passes_over_empty_ones() -> None:
    values = torch.tensor([[[1.0, 3.0]], [[8.0, 9.0]], [[7.0, 7.0]]])
    mask = torch.tensor([[[True, True]], [[True, False]], [[False, False]]])
    assert float(mean_of_pairs(values, mask)) == (2 + 8) / 2


@pytest.mark.parametrize("loss", [end_point_error, selected_loss, mean_of_pairs])
def test_no_masked_cell_means_no_loss_and_a_finite_gradient(loss: object) -> None:
    flow = torch.ones(1, 2, 3, 3, requires_grad=True)
    empty = torch.zeros(1, 3, 3, dtype=torch.bool)
    target = torch.ones(1, 2, 3, 3)
    cases = {
        end_point_error: lambda: end_point_error(flow, target, empty),
        selected_loss: lambda: selected_loss(flow, target, empty, 0.5),
        mean_of_pairs: lambda: mean_of_pairs(distances(flow, target), empty),
    }
    value = cases[loss]()  # type: ignore[index]  # one of the three
    value.backward()  # type: ignore[no-untyped-call]  # torch's own
    assert float(value.detach()) == 0
    assert flow.grad is not None
    assert torch.equal(flow.grad, torch.zeros_like(flow))


@pytest.mark.parametrize("which", ["end_point", "selected", "pairs"])
def test_gradients_are_those_of_finite_differences(which: str) -> None:
    draws = torch.Generator().manual_seed(8)
    flow = torch.randn(2, 2, 3, 4, generator=draws, dtype=torch.float64, requires_grad=True)
    other = torch.randn(2, 2, 3, 4, generator=draws, dtype=torch.float64)
    mask = torch.rand(2, 3, 4, generator=draws) > 0.4
    losses = {
        "end_point": lambda given: end_point_error(given, other, mask),
        "selected": lambda given: selected_loss(given, other, mask, 0.5),
        "pairs": lambda given: mean_of_pairs(distances(given, other), mask),
    }
    assert torch.autograd.gradcheck(losses[which], (flow,))
