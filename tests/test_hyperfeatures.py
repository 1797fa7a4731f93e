"""Diffusion Hyperfeatures with tiny random networks, against the diffusion written out."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from spairc.types import BadInput, Query, Size
from spairc_models import load_model
from spairc_models.hyperfeatures import SCHEDULES, Aggregation

diffusers = pytest.importorskip("diffusers", reason="needs the extra `diffusion`")


def loaded(name: str) -> ModuleType:
    """Another test file, for what it makes."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


test_dift = loaded("test_dift")
folder, texture = test_dift.folder, test_dift.texture  # the fixtures
CHANNELS = (16, 16, 12, 12, 8, 8)  # of the tiny decoder's residual blocks
SIZES = (Size(84, 60), Size(51, 60))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Networks of one step and of all, saved as the training program does."""
    root = tmp_path_factory.mktemp("weights")
    paths = {}
    for steps in SCHEDULES:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(steps)
            network = Aggregation(CHANNELS, steps)
            network.mixing_weights.data = torch.randn(len(CHANNELS) * steps)
        paths[steps] = root / f"{steps}.pt"
        saved = {"step": 5000, "config": {"prompt": ""}, "optimizer_state_dict": {"state": {}}}
        torch.save({**saved, "aggregation_network": network.state_dict()}, paths[steps])
    return paths


def load(folder: Path, weights: Path, **options: Any) -> Any:  # its parts are looked at
    given = {"diffusion": str(folder), "side": 48, "device": "cpu", **options}
    return load_model("hyperfeatures", str(weights), **given)


def slow_features(folder: Path, weights: Path, inputs: Tensor, noise: Tensor, steps: int) -> Tensor:
    """(B, 384, 12, 12): diffusers' own networks, the residual branches from what blocks do."""
    whole = {"low_cpu_mem_usage": False}
    unet = diffusers.UNet2DConditionModel.from_pretrained(folder, subfolder="unet", **whole)
    vae = diffusers.AutoencoderKL.from_pretrained(folder, subfolder="vae", **whole)
    scheduler = diffusers.DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"
    )
    scheduler.set_timesteps(steps)
    remains = scheduler.alphas_cumprod
    branches: list[Tensor] = []

    def keep(layer: Any, given: tuple[Tensor, ...], output: Tensor) -> None:
        past = given[0] if layer.conv_shortcut is None else layer.conv_shortcut(given[0])
        branches.append(output * layer.output_scale_factor - past)

    for block in unet.up_blocks:
        for layer in block.resnets:
            layer.register_forward_hook(keep)
    told = empty_prompt(folder).expand(len(inputs), -1, -1)
    times = [int(time) for time in scheduler.timesteps.flip(0)]
    latent = vae.encode(inputs).latent_dist
    latents = (latent.mean + latent.std * noise) * vae.config.scaling_factor
    seen = {}
    for number, (time, after) in enumerate(zip([-1, *times[:-1]], times, strict=True)):
        branches.clear()
        noise_found = unet(latents, time, told).sample
        seen[steps - 1 - number] = list(branches)  # as the program numbers them: noise is 0
        now = torch.tensor(1.0) if time < 0 else remains[time]
        clean = (latents - noise_found * (1 - now) ** 0.5) / now**0.5
        latents = clean * remains[after] ** 0.5 + noise_found * (1 - remains[after]) ** 0.5
    saved = [0] if steps == 1 else [49, 45, 40, 35, 30, 25, 20, 15, 10, 5, 0]
    network = Aggregation(CHANNELS, len(saved))
    network.load_state_dict(torch.load(weights)["aggregation_network"])
    shares = iter(network.mixing_weights.softmax(dim=0))
    total = torch.zeros(())
    for index in saved:
        for block, layer in zip(network.bottleneck_layers, seen[index], strict=True):
            total = total + next(shares) * block(functional.interpolate(layer, 12, mode="bilinear"))
    return total


def empty_prompt(folder: Path) -> Tensor:
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer")
    text = transformers.CLIPTextModel.from_pretrained(folder, subfolder="text_encoder")
    ids = tokenizer("", padding="max_length", max_length=9, return_tensors="pt").input_ids
    told: Tensor = text(ids).last_hidden_state
    return told


@pytest.mark.parametrize("count", [1, pytest.param(11, marks=pytest.mark.slow)])
def test_features_are_the_weighted_sum_over_layers_and_steps(
    folder: Path, files: dict[int, Path], texture: NDArray[np.uint8], count: int
) -> None:
    matcher = load(folder, files[count], seed=3)
    found = torch.stack(matcher.encode([texture])).permute(0, 3, 1, 2)
    inputs = torch.from_numpy(matcher.preprocessing.normalised(texture))[None]
    noise = torch.randn((4, 12, 12), generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        expected = slow_features(folder, files[count], inputs, noise, SCHEDULES[count].steps)
    assert found.shape == (1, 384, 12, 12)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_a_pictures_features_do_not_depend_on_its_neighbours(
    folder: Path, files: dict[int, Path], texture: NDArray[np.uint8]
) -> None:
    matcher = load(folder, files[1])
    pictures = [texture, texture[5:], texture[:, 33:]]
    forth, back = matcher.encode(pictures), matcher.encode(pictures[::-1])
    for one, other in zip(forth, back[::-1], strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("readout", ["full", "window"])
def test_points_are_found_inside_and_a_picture_finds_itself(
    folder: Path, files: dict[int, Path], texture: NDArray[np.uint8], readout: str
) -> None:
    matcher = load(folder, files[1], readout=readout)
    first, second = matcher.encode([texture, texture[:, 33:]])
    points = np.array([[20.0, 17.0], [70.0, 50.0], [83.0, 0.0]])
    itself, other = matcher.match(
        [
            Query(first, first, points, SIZES[0], SIZES[0], "car"),
            Query(first, second, points, *SIZES, "car"),
        ]
    )
    # Beyond the centres of the outermost cells all pixels are alike.
    assert abs(itself - points)[:2].max() < (1e-6 if readout == "full" else 7)
    assert ((other >= -1e-9) & (other <= np.array([50, 59]) + 1e-9)).all()


def test_the_released_schedules_begin_at_the_picture_and_end_at_noise() -> None:
    assert [49 - number for number in SCHEDULES[11].read] == [
        *(49, 45, 40, 35, 30, 25, 20, 15, 10, 5, 0)
    ]


def test_what_cannot_be_is_explained(folder: Path, files: dict[int, Path], tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="needs weights, and they are at https"):
        load_model("hyperfeatures", diffusion=str(folder))
    torch.save(Aggregation(CHANNELS, 3).state_dict(), tmp_path / "three.pt")
    with pytest.raises(BadInput, match="mixes 18 features; 6 layers are read at 1 or 11 steps"):
        load(folder, tmp_path / "three.pt")
    torch.save(Aggregation((16, 16, 12, 12, 8, 9), 1).state_dict(), tmp_path / "other.pt")
    with pytest.raises(BadInput, match="does not fit hyperfeatures"):
        load(folder, tmp_path / "other.pt")
    with pytest.raises(BadInput, match="side 50: hyperfeatures takes multiples of 16"):
        load(folder, files[1], side=50)
