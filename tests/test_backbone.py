"""Networks are read at the layers that were named, whatever their family."""

import json
import sys
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
import torchvision
from torch import Tensor, nn

from spairc.types import BadInput, Size
from spairc_models import load_model
from spairc_models.adapter import execution, running
from spairc_models.backbone import RANDOM, Backbone, Wanted, parse_layers
from spairc_models.checkpoint import state_hash
from spairc_models.timm_networks import timm_backbone
from spairc_models.torchvision_networks import torchvision_backbone

CPU = execution("cpu")

# One of each family, the smallest; all 80 networks of torchvision were tried once.
FAMILIES: dict[str, Any] = {
    "mobilenet_v2": (("13", "16"), (96, 16), (160, 8)),
    "mobilenet_v3_small": (("8", "11"), (48, 16), (96, 8)),
    "resnet18": (("layer3", "layer4"), (256, 16), (512, 8)),
    "shufflenet_v2_x0_5": (("stage3", "stage4"), (96, 16), (192, 8)),
    "squeezenet1_1": (("12",), (512, 15)),
    "mnasnet0_5": (("layers.11", "layers.13"), (48, 16), (160, 8)),
    "regnet_x_400mf": (("trunk_output.block3", "trunk_output.block4"), (160, 16), (400, 8)),
    "efficientnet_b0": (("5", "7"), (112, 16), (320, 8)),
}
HEAVY_FAMILIES: dict[str, Any] = {
    "alexnet": (("4", "11"), (192, 31), (256, 15)),
    "googlenet": (("inception4e", "inception5b"), (832, 16), (1024, 8)),
    "inception_v3": (("Mixed_6e", "Mixed_7c"), (768, 14), (2048, 6)),
    "densenet121": (("features.denseblock3", "features.denseblock4"), (1024, 16), (1024, 8)),
    "convnext_tiny": (("5", "7"), (384, 16), (768, 8)),
    "efficientnet_v2_s": (("5", "6"), (160, 16), (256, 8)),
    "swin_t": (("5", "7"), (384, 16), (768, 8)),
    "swin_v2_t": (("5", "7"), (384, 16), (768, 8)),
    "maxvit_t": (("blocks.2", "blocks.3"), (256, 14), (512, 7)),
    "vit_b_32": (("encoder.layers.encoder_layer_11",), (768, 7)),
    "vgg11_bn": (("20", "27"), (512, 32), (512, 16)),
}


def untrained(name: str, **wanted: Any) -> Backbone:
    return torchvision_backbone(name, Wanted(**{"weights": RANDOM, **wanted}), CPU)


def untrained_timm(name: str, **wanted: Any) -> Backbone:
    return timm_backbone(name, Wanted(**{"weights": RANDOM, **wanted}), CPU)


def picture(side: int, count: int = 1) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(7))


def plain(name: str) -> nn.Module:
    """The network as torchvision builds it, with the same random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        network: nn.Module = torchvision.models.get_model(name, weights=None).eval()
    return network


def trained(name: str, folder: Path) -> tuple[nn.Module, Path]:
    """A network whose normalisations do something, and its checkpoint."""
    network, generator = plain(name), torch.Generator().manual_seed(3)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            module.running_mean.normal_(std=0.3, generator=generator)
            module.weight.data.uniform_(0.5, 2, generator=generator)
    torch.save(network.state_dict(), folder / f"{name}.pth")
    return network, folder / f"{name}.pth"


def hooked(network: nn.Module, module: str, inputs: Tensor) -> Tensor:
    """What a module of an untouched network gives, by a hook."""
    kept: list[Tensor] = []
    network.get_submodule(module).register_forward_hook(lambda *call: kept.append(call[2].clone()))
    with torch.inference_mode():
        network(inputs)
    return kept[0]


def read(backbone: Backbone, inputs: Tensor) -> list[Tensor]:
    with running(CPU):
        return list(backbone.maps(inputs))


def check_family(name: str, layers: tuple[str, ...], *shapes: tuple[int, int]) -> None:
    backbone = untrained(name)
    assert backbone.layers == layers
    found = read(backbone, picture(backbone.preprocessing.side, count=2))
    assert [each.shape for each in found] == [(2, channels, n, n) for channels, n in shapes]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_has_default_layers(name: str) -> None:
    check_family(name, *FAMILIES[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", HEAVY_FAMILIES)
def test_a_heavy_family_has_default_layers(name: str) -> None:
    check_family(name, *HEAVY_FAMILIES[name])


@pytest.mark.parametrize(
    ("name", "layers", "modules"),
    [
        ("mobilenet_v2", "0,13,16", ["features.0", "features.13", "features.16"]),
        ("resnet18", "layer3.1,layer4", ["layer3.1", "layer4"]),
        ("resnet18", "layer2.0.bn2,layer2", ["layer2.0.bn2", "layer2"]),  # then += in place
        ("resnet18", "conv1,bn1,layer1", ["conv1", "bn1", "layer1"]),  # not to be folded
        ("shufflenet_v2_x0_5", "stage4,stage2.1", ["stage4", "stage2.1"]),
        ("squeezenet1_1", "features.3.squeeze,4", ["features.3.squeeze", "features.4"]),
    ],
)
def test_layers_give_what_the_untouched_network_gives_there(
    tmp_path: Path, name: str, layers: str, modules: list[str]
) -> None:
    network, file = trained(name, tmp_path)
    inputs = picture(96)
    found = read(torchvision_backbone(name, Wanted(layers, 96, checkpoint=file), CPU), inputs)
    for each, module in zip(found, modules, strict=True):
        expected = hooked(network, module, inputs)
        torch.testing.assert_close(each, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "shufflenet_v2_x0_5"])
def test_every_normalisation_is_folded_away(name: str) -> None:
    network = untrained(name).maps._network  # type: ignore[attr-defined]  # an object with __call__
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def test_nothing_behind_the_last_layer_is_run() -> None:
    backbone = untrained("mobilenet_v2", layers="2")
    network = backbone.maps._network  # type: ignore[attr-defined]  # an object with __call__
    parameters = sum(tensor.numel() for tensor in network.parameters())
    assert parameters < 10_000  # of 3.5 million


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("13,16", ("13", "16")),
        (" layer3 , layer4.0", ("layer3", "layer4.0")),
        ([13, 16], ("13", "16")),
        (13, ("13",)),
        ("13,13", ("13",)),
        (None, ()),
    ],
)
def test_layers_are_written_as_text_numbers_or_a_list(given: Any, names: tuple[str, ...]) -> None:
    assert parse_layers(given) == names


@pytest.mark.parametrize("given", ["", "13,", ",", [], [""]])
def test_an_empty_layer_is_refused(given: Any) -> None:
    with pytest.raises(BadInput, match="write them as 13,16 or layer3,layer4"):
        parse_layers(given)


@pytest.mark.parametrize(
    ("name", "wanted", "message"),
    [
        ("mobilenet_v2", {"layers": "19"}, "choose an index from 0 to 18, or a module in or below"),
        ("mobilenet_v2", {"layers": "-1"}, "has no layer '-1'"),
        ("resnet18", {"layers": "3"}, "has no layer '3'; choose a module in or below conv1, bn1"),
        ("resnet18", {"layers": "layer3,layer9"}, "has no layer 'layer9'"),
        ("resnet18", {"layers": "fc"}, "layer 'fc' of torchvision:resnet18 has no grid"),
        ("resnet18", {"weights": "IMAGENET1K_V9"}, "did you mean 'IMAGENET1K_V1'"),
        ("mobilenet_v2", {"weights": "IMAGENET1K_V3"}, "did you mean 'IMAGENET1K_V2'"),
        ("resnet18", {"side": 0}, "side 0: torchvision:resnet18 needs at least 1 pixels"),
        ("alexnet", {"side": 40}, "needs at least 63 pixels"),
        ("vit_b_32", {"side": 256}, "side 256: torchvision:vit_b_32 takes 224 only"),
        ("resnet18", {"resize": "stretch"}, "mode 'stretch': choose from squash, pad"),
        ("resnet_18", {}, "no torchvision network is called 'resnet_18'; did you mean 'resnet18'"),
        ("zzzz", {}, "tells what there is"),
    ],
)
def test_what_a_torchvision_network_cannot_do_is_explained(
    name: str, wanted: dict[str, object], message: str
) -> None:
    with pytest.raises(BadInput, match=message) as refusal:
        untrained(name, **wanted)
    assert "\n" not in str(refusal.value)


def test_a_layer_that_is_not_run_in_evaluation_is_explained() -> None:
    with pytest.raises(BadInput, match="layers aux1: not each is a step of its own"):
        untrained("googlenet", layers="aux1")


def test_random_weights_are_the_same_every_time_and_leave_the_global_stream_alone() -> None:
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    first = untrained("mobilenet_v3_small")
    assert torch.equal(torch.rand(3), expected)
    assert untrained("mobilenet_v3_small").weights == first.weights


def test_weights_come_from_torchs_cache_and_are_strict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    network = plain("mobilenet_v3_small")
    (tmp_path / "checkpoints").mkdir()
    file = tmp_path / "checkpoints" / "mobilenet_v3_small-047dcff4.pth"
    torch.save(network.state_dict(), file)
    backbone = torchvision_backbone("mobilenet_v3_small", Wanted(), CPU)
    assert backbone.weights != state_hash(network)  # the file's own
    found = read(backbone, picture(96))[0]
    expected = hooked(network, "features.8", picture(96))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_without_a_network_one_line_tells_what_to_fetch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    expected = (
        r"torchvision:mobilenet_v3_small cannot be fetched .*no route.*; download "
        r"https://download\.pytorch\.org/models/mobilenet_v3_small-047dcff4\.pth where there is a "
        r"network and give --checkpoint FILE"
    )
    with pytest.raises(BadInput, match=expected) as refusal:
        torchvision_backbone("mobilenet_v3_small", Wanted(), CPU)
    assert "\n" not in str(refusal.value)


def test_a_download_is_checked_against_the_hash_in_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {}

    def fetch(address: str, file: str, *, hash_prefix: str) -> None:
        asked[address.rpartition("/")[2]] = hash_prefix
        torch.save(plain("mobilenet_v3_small").state_dict(), file)

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    torchvision_backbone("mobilenet_v3_small", Wanted(), CPU)
    assert asked == {"mobilenet_v3_small-047dcff4.pth": "047dcff4"}


def test_weights_of_another_network_are_refused_by_name(tmp_path: Path) -> None:
    torch.save(plain("squeezenet1_1").state_dict(), tmp_path / "squeeze.pth")
    expected = r"squeeze\.pth does not fit torchvision:mobilenet_v3_small: .* missing; .* too much"
    with pytest.raises(BadInput, match=expected):
        torchvision_backbone("mobilenet_v3_small", Wanted(checkpoint=tmp_path / "squeeze.pth"), CPU)


@pytest.mark.slow
def test_densenets_published_names_are_read(tmp_path: Path) -> None:
    network = plain("densenet121")
    published = {
        key.replace("norm1.", "norm.1.").replace("conv2.", "conv.2.")
        if "denselayer" in key
        else key: value
        for key, value in network.state_dict().items()
    }
    torch.save(published, tmp_path / "densenet121-a639ec97.pth")
    wanted = Wanted(checkpoint=tmp_path / "densenet121-a639ec97.pth", side=64)
    found = read(torchvision_backbone("densenet121", wanted, CPU), picture(64))[0]
    expected = hooked(network, "features.denseblock3", picture(64))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_the_real_mobilenet_reads_at_layers_13_and_16(shared: Path) -> None:
    file = shared / "weights" / "mobilenet_v2_imagenet.pth"
    backbone = torchvision_backbone("mobilenet_v2", Wanted(checkpoint=file), CPU)
    assert backbone.layers == ("13", "16")
    assert backbone.weights.startswith("5024274bd1ee6796")
    network = torchvision.models.mobilenet_v2()
    network.load_state_dict(torch.load(file, weights_only=True))
    inputs = picture(256)
    for found, module in zip(read(backbone, inputs), ("features.13", "features.16"), strict=True):
        expected = hooked(network.eval(), module, inputs)
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


# timm


def test_a_transformer_of_timm_is_read_at_its_last_block_by_default() -> None:
    backbone = untrained_timm("test_vit")
    assert backbone.layers == ("5",)
    assert backbone.preprocessing.side == 160
    assert read(backbone, picture(160))[0].shape == (1, 64, 10, 10)


def test_tokens_stand_in_their_grid_row_by_row() -> None:
    timm = pytest.importorskip("timm")
    backbone = untrained_timm("test_vit", layers="2")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        network = timm.create_model("test_vit").eval()
    inputs = picture(160)
    tokens = hooked(network, "blocks.2", inputs)[:, network.num_prefix_tokens :]
    found = read(backbone, inputs)[0]
    for row, column in ((0, 0), (0, 7), (4, 1), (9, 9)):
        torch.testing.assert_close(
            found[0, :, row, column], tokens[0, 10 * row + column], rtol=1e-4, atol=1e-4
        )


def test_a_hierarchical_network_of_timm_is_read_at_its_last_two_stages() -> None:
    backbone = untrained_timm("test_resnet", side=96)
    assert backbone.layers == ("3", "4")
    strides = [96 // each.shape[-1] for each in read(backbone, picture(96))]
    assert strides == [16, 32]


def test_a_transformer_takes_another_side_in_multiples_of_its_patch() -> None:
    backbone = untrained_timm("test_vit", side=192, layers=[1, -1])
    assert backbone.layers == ("1", "5")
    assert [each.shape[-1] for each in read(backbone, picture(192))] == [12, 12]


def test_timms_own_normalisation_travels_with_the_network() -> None:
    pytest.importorskip("timm")
    preprocessing = untrained_timm("test_vit").preprocessing
    assert preprocessing.mean == (0.5, 0.5, 0.5)
    assert preprocessing.frame(Size(320, 80)).scale == (0.5, 2)


@pytest.mark.parametrize(
    ("name", "wanted", "message"),
    [
        ("test_vit", {"layers": "6"}, "layer '6': the layers of timm:test_vit are 0 to 5"),
        ("test_vit", {"layers": "blocks.3"}, "are 0 to 5"),
        ("test_vit", {"side": 190}, "takes multiples of 16, the nearest is 192"),
        ("test_vit.r1", {}, "did you mean 'test_vit.r160_in1k'"),
        ("test_vitt", {}, "no timm network is called 'test_vitt'; did you mean 'test_vit'"),
        ("mixer_s32_224", {"side": 256}, "side 256: timm:mixer_s32_224 takes its own side only"),
    ],
)
def test_what_a_timm_network_cannot_do_is_explained(
    name: str, wanted: dict[str, object], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        untrained_timm(name, **wanted)


def test_versions_of_timms_weights_are_in_its_names() -> None:
    with pytest.raises(BadInput, match=r"write NAME\.VERSION"):
        timm_backbone("test_vit", Wanted(weights="IMAGENET1K_V1"), CPU)


def test_a_timm_checkpoint_loads_strictly(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    network = timm.create_model("test_resnet")
    torch.save(network.state_dict(), tmp_path / "a.pth")
    wanted = Wanted(checkpoint=tmp_path / "a.pth", side=64)
    found = read(timm_backbone("test_resnet", wanted, CPU), picture(64))[1]
    expected = hooked(network.eval(), "layer4", picture(64))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(BadInput, match="does not fit timm:test_vit"):
        timm_backbone("test_vit", Wanted(checkpoint=tmp_path / "a.pth"), CPU)


def test_without_timm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(BadInput, match=r"needs timm; pip install 'spairc\[timm\]'"):
        untrained_timm("test_vit")


def test_without_a_network_timms_weights_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    expected = "timm:test_vit cannot be fetched .* give --checkpoint its model.safetensors"
    with pytest.raises(BadInput, match=expected) as refusal:
        timm_backbone("test_vit", Wanted(), CPU)
    assert "\n" not in str(refusal.value)


def test_a_run_can_record_what_was_read() -> None:
    matcher = load_model("torchvision:mobilenet_v3_small", device="cpu", weights=RANDOM)
    details = json.loads(json.dumps(dict(matcher.details)))  # type: ignore[attr-defined]  # of a TorchMatcher
    assert details["layers"] == "8,11"
    assert details["side"] == 256
    assert details["device"] == "cpu"
    assert len(details["weights"]) == 64


def test_a_checkpoint_and_weights_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="either a checkpoint or weights"):
        untrained("resnet18", checkpoint=tmp_path / "a.pth")
