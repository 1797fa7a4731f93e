"""NC-Net, CNNGeo, WeakAlign, VAT and DHPF: stored answers of their programs, and the gates."""

import importlib.util
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spairc.images import read_image
from spairc.types import BadInput, Query, Size
from spairc_models import load_model, load_network
from spairc_models.checkpoint import Checkpoint
from spairc_models.dhpf import DHPF
from spairc_models.networks import NETWORKS, fitting_network

slow = pytest.mark.slow
IDENTITY = {  # the warp that moves nothing
    6: (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    18: (-1.0,) * 3 + (0.0,) * 3 + (1.0,) * 3 + (-1.0, 0.0, 1.0) * 3,
}


@pytest.fixture(scope="module")
def named_weights(shared: Path) -> ModuleType:
    """What draws a network's weights from the names of its tensors."""
    path = shared / "golden" / "named_weights.py"
    spec = importlib.util.spec_from_file_location("named_weights", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def synthetic(named_weights: ModuleType, name: str) -> list[Tensor]:
    side = NETWORKS[name].side
    return [named_weights.normalised(named_weights.image(seed, side)) for seed in (1, 2)]


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# How the stored answers' weights differ from those drawn by name.


def near_the_middle(network: Any) -> None:
    """Else zeros beyond the border alone would decide NC-Net's answer."""
    for layer in network.NeighConsensus.conv[::2]:
        layer.bias.mul_(0.1)
        layer.weight.mul_(0.05)
        layer.weight[2, :, :, 2, 2, 2] += 1 / layer.weight.shape[2]


def in_view(network: Any) -> None:
    """Else a warp would lead far out of the picture."""
    for name, module in network.named_modules():
        if name.endswith("linear"):
            module.bias += torch.tensor(IDENTITY[len(module.bias)])


def within_reach(network: Any) -> None:
    """Else VAT's places would lie far outside the picture."""
    for parameter in network.hpn_learner["ours"].decoder[2].parameters():
        parameter.mul_(0.05)


ADJUSTED: Mapping[str, Callable[[Any], None]] = {
    "ncnet": near_the_middle,
    "cnngeo": in_view,
    "weakalign": in_view,
    "vat": within_reach,
}


@torch.no_grad()
def filled(named_weights: ModuleType, name: str, **settings: Any) -> nn.Module:
    """A network with the stored answers' weights."""
    network = load_network(name, **settings)
    computed = {key: value.clone() for key, value in network.state_dict().items() if "mask" in key}
    named_weights.fill(network)
    network.load_state_dict(computed, strict=False)
    ADJUSTED.get(name, lambda _: None)(network)
    return network


def stored(shared: Path, name: str) -> Mapping[str, NDArray[Any]]:
    answers: Mapping[str, NDArray[Any]] = np.load(shared / "golden" / "matchers" / f"{name}.npz")
    return answers


@pytest.mark.parametrize("name", ["ncnet", "cnngeo", "weakalign", "dhpf", "vat"])
def test_tensors_have_the_official_names_and_shapes(shared: Path, name: str) -> None:
    official = json.loads((shared / "golden" / "matchers" / f"{name}.keys.json").read_text())
    own = {key: list(value.shape) for key, value in load_network(name).state_dict().items()}
    assert own == official
    assert list(own) == list(official)


@pytest.mark.parametrize(
    "name", [pytest.param("ncnet", marks=slow), "dhpf", pytest.param("vat", marks=slow)]
)
@torch.inference_mode()
def test_the_answer_is_the_published_programs(
    shared: Path, named_weights: ModuleType, name: str
) -> None:
    network: Any = filled(named_weights, name)
    expected = stored(shared, name)
    found = network(*synthetic(named_weights, name))[0].numpy()
    if "flow" in expected:
        assert np.abs(found - expected["flow"]).max() < 1e-3  # cells
        return
    rows, columns = expected["correlation_step"]
    sample = expected["correlation"]
    assert found.shape == tuple(expected["correlation_shape"])
    assert np.abs(found[::rows, ::columns] - sample).max() < 1e-4 * np.abs(sample).max()


@torch.inference_mode()
def test_gates_open_as_in_the_published_program(shared: Path, named_weights: ModuleType) -> None:
    network: Any = filled(named_weights, "dhpf")
    expected = stored(shared, "dhpf")
    both = [network.encode_features(each) for each in synthetic(named_weights, "dhpf")]
    assert network.gates(*both)[0].tolist() == expected["layers_selected"].tolist()
    rows, columns = expected["correlation_step"]
    found = network.appearance(*both)[0, ::rows, ::columns].numpy()
    assert np.abs(found - expected["appearance"]).max() < 1e-5


@pytest.mark.parametrize(
    ("outputs", "kind"),
    [((6,), "_affine"), ((18,), "_tps"), pytest.param((6, 18), "", marks=slow), ((), "")],
)
def test_points_are_found_where_the_published_program_finds_them(
    shared: Path, named_weights: ModuleType, tmp_path: Path, outputs: tuple[int, ...], kind: str
) -> None:
    """CNNGeo in its three ways; without a number of outputs WeakAlign."""
    name = "cnngeo" if outputs else "weakalign"
    options = {}
    for option, count in zip(("checkpoint", "second"), outputs or (None,), strict=False):
        settings = {} if count is None else {"outputs": count}
        path = tmp_path / f"{option}.pth"
        torch.save(filled(named_weights, name, **settings).state_dict(), path)
        options[option] = str(path)
    check_points(shared, named_weights, name, options, kind)


@slow
@pytest.mark.parametrize("name", ["ncnet", "dhpf", "vat"])
def test_points_are_found_as_published(
    shared: Path, named_weights: ModuleType, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "model_best.pth"
    torch.save({"state_dict": filled(named_weights, name).state_dict()}, path)
    check_points(shared, named_weights, name, {"checkpoint": str(path)}, "")


def check_points(
    shared: Path, named_weights: ModuleType, name: str, options: dict[str, str], kind: str
) -> None:
    """Two drawn pictures and two photographs, whole pictures and original pixels."""
    expected = stored(shared, name)
    matcher = load_model(name, device="cpu", **options)
    drawn_pictures = [named_weights.image(seed, int(expected["side"])) for seed in (1, 2)]
    root = shared / "data" / "SPair-mini"
    pair = json.loads((root / str(expected["pair"])).read_text())
    folder = root / "JPEGImages" / pair["category"]
    photographs = [read_image(folder / pair[key]) for key in ("src_imname", "trg_imname")]
    for prefix, both in (("", drawn_pictures), ("photo_", photographs)):
        sizes = [Size(each.shape[1], each.shape[0]) for each in both]
        points = expected[f"{prefix}points"].astype(np.float64)
        source, target = matcher.encode(both)
        asked = Query(source, target, points, sizes[0], sizes[1], "car")
        found = matcher.match([asked])[0]
        assert np.abs(found - expected[f"{prefix}found{kind}"]).max() < 0.05


@slow
@torch.inference_mode()
def test_published_gates_are_joined_with_a_trunk(tmp_path: Path) -> None:
    whole = load_network("dhpf", seed=3).state_dict()
    gates = {key: value for key, value in whole.items() if "_ffns." in key}
    trunk = {key: value for key, value in whole.items() if key not in gates}
    for name, state in (("whole", whole), ("gates", gates), ("trunk", trunk)):
        torch.save(state, tmp_path / f"{name}.pth")
    picture = np.random.default_rng(0).integers(0, 256, (33, 57, 3), dtype=np.uint8)
    options = ({"checkpoint": "whole"}, {"checkpoint": "gates", "trunk": "trunk"})
    found = []
    for each in options:
        paths = {option: str(tmp_path / f"{name}.pth") for option, name in each.items()}
        found.append(load_model("dhpf", device="cpu", **paths).encode([picture])[0])
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)
    with pytest.raises(BadInput, match=r"does not fit dhpf: .*conv1.weight.* missing"):
        load_model("dhpf", checkpoint=str(tmp_path / "gates.pth"))
    with pytest.raises(BadInput, match=r"trunk .* is half of a checkpoint"):
        load_model("dhpf", trunk=str(tmp_path / "trunk.pth"))


# What holds of any weights


def gated(opening: Callable[[int], Tensor]) -> DHPF:
    """A small network whose gates' last weights, (2, hidden, 1, 1), are given by layer."""
    torch.manual_seed(0)
    network = DHPF((1, 1, 2, 1), width=8).eval()
    gates: Any = network.gumbel_ffns
    for layer, gate in enumerate(gates):
        gate[-1].weight.data.copy_(opening(layer))
    return network


@torch.no_grad()
def test_where_no_gate_opens_the_first_layer_is_used() -> None:
    network = gated(lambda _: torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
    both = [network.encode_features(drawn(2, 3, 64, 64, seed=seed)) for seed in (0, 1)]
    assert network.gates(*both).tolist() == [[1.0, 0, 0, 0, 0, 0]] * 2


@torch.no_grad()
def test_each_pair_opens_gates_of_its_own() -> None:
    network = gated(lambda layer: drawn(2, 32, 1, 1, seed=layer))
    both = [list(network.encode_features(drawn(6, 3, 64, 64, seed=seed))) for seed in (0, 1)]
    for layer, average in enumerate(both[0][:6]):
        both[0][layer] = drawn(*average.shape, seed=layer)
    gates = network.gates(*both)
    assert len({tuple(row) for row in gates.tolist()}) > 1
    for pair in range(6):
        alone = [[part[pair : pair + 1] for part in each] for each in both]
        assert torch.equal(network.gates(*alone)[0], gates[pair])
        expected = network.appearance(*alone)[0]
        assert torch.allclose(network.appearance(*both)[pair], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("cnngeo", {"outputs": 18}),
        ("ncnet", {"kernels": (3, 3), "channels": (10, 1)}),
        ("weakalign", {}),
        ("dhpf", {}),
        ("vat", {}),
    ],
)
def test_a_checkpoint_tells_which_network_it_is_of(name: str, settings: dict[str, Any]) -> None:
    with torch.device("meta"):
        state = NETWORKS[name].make(**settings).state_dict()
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    assert NETWORKS[name].settings(shapes) == settings
    assert fitting_network(Checkpoint(state, "", "")) == name
