"""SemiMatch's masks, labels and losses against stored outputs of its program."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from matchme_train.annotate import read_flow, refined
from matchme_train.checkpoints import RunFolder
from matchme_train.losses import end_point_error
from matchme_train.networks import make_network, weights_of
from matchme_train.recipe import as_record, load_recipe
from matchme_train.semimatch import (
    Labels,
    balanced,
    best_places,
    consistent,
    in_box,
    labels_of,
    pseudo_loss,
)
from matchme_train.targets import flow_to, labelled
from matchme_train.train import register
from matchme_train.warps import IDENTITY
from spairc.types import BadInput
from spairc_models import load_network
from spairc_models.cats import Settings as CATsSettings
from spairc_models.networks import NETWORKS, Weights, cats_settings, weighted_network

Golden = Mapping[str, NDArray[Any]]
WEIGHT = 0.5  # of the unsupervised loss


@pytest.fixture(scope="module")
def golden(shared: Path) -> Golden:
    with np.load(shared / "golden" / "training.npz") as file:
        return dict(file)


def scores(golden: Golden, view: int) -> Tensor:
    """(2, 256, 16, 16) scores by the stored rule: noise, and a height at one cell of each."""
    draws = np.random.Generator(np.random.PCG64(int(golden["semimatch_seeds"][view])))
    values = draws.standard_normal((2, 256, 256), dtype=np.float32) * np.float32(0.1)
    heights = draws.random((2, 256), dtype=np.float32) + np.float32(0.2)
    peak = golden["semimatch_peak"].astype(np.int64)
    for sample in range(2):
        values[sample, peak[sample], np.arange(256)] += heights[sample]
    return torch.from_numpy(values).view(2, 256, 16, 16)


def labels(golden: Golden, warp: Tensor, threshold: float = 0.5) -> Labels:
    first, second = (
        torch.from_numpy(golden[f"semimatch_box_{end}"] / np.float32(16))
        for end in ("target", "source")
    )
    return labels_of(scores(golden, 0), first, second, warp, threshold=threshold)


WARPS = {"semimatch_": None, "semimatch_identity_": IDENTITY.repeat(2, 1)}


@pytest.fixture(params=WARPS)
def case(golden: Golden, request: pytest.FixtureRequest) -> tuple[str, Labels]:
    warp = WARPS[request.param]
    if warp is None:
        warp = torch.from_numpy(golden["semimatch_theta"])
    return request.param, labels(golden, warp)


def test_labels_and_masks_after_the_warp_are_the_published_ones(
    golden: Golden, case: tuple[str, Labels]
) -> None:
    prefix, found = case
    assert np.array_equal(found.cell.numpy(), golden[f"{prefix}label"])
    for name, mask in (
        ("confidence", found.confident),
        ("fb", found.consistent),
        ("target_box", found.in_first),
        ("source_box", found.in_second),
    ):
        assert np.array_equal(mask.numpy(), golden[f"{prefix}{name}_mask_warped"]), name
    assert np.array_equal(found.used.numpy(), golden[f"{prefix}used_mask"])
    assert int(found.used.sum()) == golden[f"{prefix}used_count"]
    np.testing.assert_allclose(found.entropy.numpy(), golden[f"{prefix}entropy"], atol=1e-5)


def test_the_unsupervised_loss_and_its_gradient_are_the_published_ones(
    golden: Golden, case: tuple[str, Labels]
) -> None:
    prefix, found = case
    strong = scores(golden, 1).requires_grad_()
    loss = WEIGHT * pseudo_loss(strong, found)
    loss.backward()  # type: ignore[no-untyped-call]  # torch's own
    assert strong.grad is not None
    wanted = float(golden[f"{prefix}loss_unsupervised"])
    assert float(loss.detach()) == pytest.approx(wanted, rel=1e-5)
    norm = float(golden[f"{prefix}loss_unsupervised_gradient_norm"])
    assert float(strong.grad.norm()) == pytest.approx(norm, rel=1e-5)


def test_the_two_totals_are_the_published_ones(golden: Golden) -> None:
    target = torch.from_numpy(golden["cats_target_flow"])
    mapping = (torch.from_numpy(golden["semimatch_map"]) + 1) * 15 / 2
    supervised = end_point_error(flow_to(mapping), target, labelled(target))
    assert float(supervised) == pytest.approx(float(golden["semimatch_loss_supervised"]), rel=1e-5)
    found = labels(golden, torch.from_numpy(golden["semimatch_theta"]))
    pseudo = WEIGHT * pseudo_loss(scores(golden, 1), found)
    assert float(supervised + pseudo) == pytest.approx(
        float(golden["semimatch_total_loss"]), rel=1e-5
    )
    assert float(supervised + balanced(pseudo, supervised)) == pytest.approx(
        float(golden["semimatch_total_loss_dynamic"]), rel=1e-5
    )


def test_the_forward_backward_test_is_the_published_one_both_ways(golden: Golden) -> None:
    weak = scores(golden, 0)
    back = weak.flatten(2).transpose(1, 2).unflatten(2, (16, 16))  # type: ignore[no-untyped-call]  # torch's own
    assert np.array_equal(consistent(weak).numpy(), golden["semimatch_fb_mask"])
    assert np.array_equal(consistent(back).numpy(), golden["semimatch_fb_mask_reverse"])


@pytest.mark.parametrize(("limit", "name"), [(0.5, "mask"), (0.9, "mask_09")])
def test_confidence_is_the_largest_probability(golden: Golden, limit: float, name: str) -> None:
    chances = torch.softmax(scores(golden, 0) / 0.1, dim=1).amax(dim=1)
    np.testing.assert_allclose(chances, golden["semimatch_confidence"], atol=1e-5)
    assert np.array_equal((chances >= limit).numpy(), golden[f"semimatch_confidence_{name}"])


def test_best_places_are_column_and_row(golden: Golden) -> None:
    column, row = best_places(scores(golden, 0)).unbind(1)
    wanted = golden["semimatch_label_unwarped"].astype(np.int64)
    assert np.array_equal(column.long().numpy(), wanted % 16)
    assert np.array_equal(row.long().numpy(), wanted // 16)


def test_a_cell_on_the_rounded_edge_of_its_box_is_inside() -> None:
    box = torch.tensor([[0.5, 1.5, 2.4, 2.0]])  # half to even: 0, 2, 2, 2
    numbers = torch.arange(16).view(1, 4, 4)
    inside = in_box(numbers, box, 4)[0].nonzero().tolist()
    assert inside == [[2, 0], [2, 1], [2, 2]]


def test_the_pseudo_loss_is_a_loop_over_used_cells() -> None:
    draws = torch.Generator().manual_seed(2)
    strong = torch.randn(1, 6, 2, 3, generator=draws, dtype=torch.float64)
    shape = (1, 2, 3)
    yes = torch.ones(shape, dtype=torch.bool)
    used = torch.tensor([[[True, False, True], [False, True, True]]])
    found = Labels(
        cell=torch.randint(6, shape, generator=draws),
        weight=torch.rand(shape, generator=draws, dtype=torch.float64),
        entropy=torch.zeros(shape),
        confident=used,
        consistent=yes,
        in_first=yes,
        in_second=yes,
    )
    terms = []
    for row, column in used[0].nonzero().tolist():
        values = np.exp(strong[0, :, row, column].numpy() / 0.1)
        label = int(found.cell[0, row, column])
        terms.append(-np.log(values[label] / values.sum()) * float(found.weight[0, row, column]))
    assert float(pseudo_loss(strong, found)) == pytest.approx(np.mean(terms))
    strong.requires_grad_()
    assert torch.autograd.gradcheck(lambda given: pseudo_loss(given, found), (strong,))


def slow_flow(scores: Tensor, temperature: float) -> NDArray[np.float64]:
    """(2, h, h) of one pair's (h^2, h^2) scores: the mean place under a softmax, in cells."""
    values = np.exp((scores.double().numpy() - float(scores.max())) / temperature)
    shares, side = values / values.sum(axis=0), round(len(values) ** 0.5)
    cell = np.arange(len(values))
    found = np.stack([(cell % side) @ shares - cell % side, (cell // side) @ shares - cell // side])
    return found.reshape(2, side, side)


RECIPE = ("network.side=64", "network.cells=4", "network.blocks=[1,1,1,1]", "network.width=4")
TINY = (*RECIPE, "network.layers=[2,3]", "network.weights=random")


def test_a_network_in_training_reads_its_flow_as_the_published_program_always_does() -> None:
    recipe = load_recipe("semimatch-cats", TINY).network
    network = make_network(recipe, 3)
    draws = torch.Generator().manual_seed(4)
    pictures = torch.randn(2, 1, 3, 64, 64, generator=draws)
    with torch.inference_mode():
        scores = refined(network, *pictures)
        flows = network(*pictures), read_flow(network, scores)
    for flow in flows:
        np.testing.assert_allclose(flow[0], slow_flow(scores[0], 0.1), atol=1e-4)
    assert np.abs(slow_flow(scores[0], 0.1) - slow_flow(scores[0], 0.02)).max() > 0.01


@pytest.mark.parametrize(("name", "wanted"), [("semimatch-cats", 0.1), ("supervised-cats", 0.02)])
def test_a_finished_run_is_read_as_it_was_trained(
    name: str, wanted: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPAIRC_CACHE", str(tmp_path / "cache"))
    recipe = load_recipe(name, TINY)
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    save_file(weights_of(make_network(recipe.network, 3)), folder.final)
    (folder.path / "recipe.json").write_text(json.dumps({"recipe": as_record(recipe)}))
    register(folder, recipe)
    for checkpoint in (None, folder.path):  # by its name in the cache, and by its folder
        network = weighted_network(recipe.model, Weights(checkpoint, None, cats_settings)).network
        assert network.temperature == wanted


@pytest.mark.slow
def test_published_weights_of_semimatch_would_be_read_as_its_program_reads_them(
    tmp_path: Path,
) -> None:
    given = load_network("cats", seed=2, settings=CATsSettings(depth=2, temperature=0.5))
    save_file(weights_of(given), tmp_path / "weights.safetensors")
    for name, wanted in (("semimatch-cats", 0.1), ("cats", 0.02)):
        asked = Weights(tmp_path / "weights.safetensors", None, NETWORKS[name].settings)
        network: Any = weighted_network(name, asked).network
        assert (network.temperature, len(network.decoder.blocks)) == (wanted, 2)
        assert load_network(name).temperature == wanted


def test_another_temperature_is_for_cats_alone() -> None:
    recipe = load_recipe("supervised-scorrsan", ["network.weights=random"]).network
    with pytest.raises(BadInput, match=r"network.temperature 0.1: scorrsan reads .* only cats"):
        make_network(replace(recipe, temperature=0.1), 0)


def test_the_balanced_loss_has_the_supervised_value_and_scaled_gradient() -> None:
    pseudo = torch.tensor(0.25, requires_grad=True)
    value = balanced(pseudo * 2, torch.tensor(3.0))
    value.backward()  # type: ignore[no-untyped-call]  # torch's own
    assert float(value.detach()) == 3
    assert pseudo.grad is not None
    assert float(pseudo.grad) == 2 * 3 / 0.5
    assert float(balanced(torch.tensor(0.0), torch.tensor(3.0))) == 0
