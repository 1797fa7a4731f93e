"""SD+DINO as published: levels of a decoder, windows, the analysis of a pair; slow references."""

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from spairc.types import BadInput, Points, Query, Size
from spairc_models import load_model
from spairc_models.fused import principal, reduced
from spairc_models.levels import stitched, window_starts

diffusers = pytest.importorskip("diffusers", reason="needs the extra `diffusion`")
pytest.importorskip("timm", reason="needs the extra `timm`")


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
SIZES = (Size(84, 60), Size(51, 60))
TINY: dict[str, Any] = {
    "network": "vit_tiny_patch16_224",
    "network_weights": "random",
    "side": 96,
    "sd_side": 96,
    "window": 64,
    "dimensions": 5,
    "device": "cpu",
}


@pytest.fixture(scope="module")
def deep(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A diffusion model whose up blocks have three steps, as those of Stable Diffusion."""
    root = Path(shutil.copytree(folder, tmp_path_factory.mktemp("deep") / "model"))
    shutil.rmtree(root / "unet")
    kinds = ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(6)
        diffusers.UNet2DConditionModel(
            block_out_channels=(8, 8, 12, 16),
            layers_per_block=2,
            norm_num_groups=4,
            attention_head_dim=4,
            cross_attention_dim=20,
            down_block_types=kinds,
            up_block_types=tuple(kind.replace("Down", "Up") for kind in reversed(kinds)),
        ).save_pretrained(root / "unet")
    return root


def load(folder: Path, **options: object) -> Any:  # its parts are looked at
    return load_model("sd-dino", checkpoint=str(folder), **{**TINY, **options})


@pytest.fixture(scope="module")
def pictures(texture: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    return [texture, np.ascontiguousarray(texture[:, 33:])]


def question(source: object, target: object, count: int = 30) -> Query:
    points = np.random.default_rng(3).uniform(0, 1, (count, 2)) * np.array(SIZES[0])
    return Query(source, target, points, *SIZES, "car")


def stepped(block: Any, step: int, hidden: Tensor, time: Tensor, told: Tensor) -> Tensor:
    """One step of a block: a residual block and, where there is one, the attention behind it."""
    hidden = block.resnets[step](hidden, time)
    if hasattr(block, "attentions"):
        (hidden,) = block.attentions[step](hidden, encoder_hidden_states=told, return_dict=False)
    return hidden


def decoded_slowly(
    unet: Any, latents: Tensor, timestep: int, told: Tensor, added: Tensor | float = 0.0
) -> list[Tensor]:
    """What stands before the third step of each up block, the UNet written out."""
    time = unet.time_embedding(unet.time_proj(torch.full((len(latents),), timestep))) + added
    hidden = unet.conv_in(latents)
    skipped = [hidden]
    for block in unet.down_blocks:
        for step in range(2):
            hidden = stepped(block, step, hidden, time, told)
            skipped.append(hidden)
        if block.downsamplers is not None:
            hidden = block.downsamplers[0](hidden)
            skipped.append(hidden)
    hidden = unet.mid_block(hidden, time, encoder_hidden_states=told)
    before: list[Tensor] = []
    for block in unet.up_blocks:
        for step in range(3):
            if step == 2:
                before.append(hidden)
            joined = torch.cat([hidden, skipped.pop()], dim=1)
            hidden = stepped(block, step, joined, time, told)
        if block.upsamplers is not None:
            hidden = block.upsamplers[0](hidden)
    return before


def test_levels_stand_before_the_third_step_of_the_first_three_up_blocks(
    deep: Path, pictures: list[NDArray[np.uint8]]
) -> None:
    matcher = load(deep, sd_side=64, window=64)
    diffusion = matcher.decoder.diffusion
    (picture,) = matcher.encode(pictures[:1])
    whole = diffusers.UNet2DConditionModel.from_pretrained(
        deep, subfolder="unet", low_cpu_mem_usage=False
    )
    with torch.inference_mode():
        told = diffusion.told("a photo of car")
        expected = decoded_slowly(whole, picture.latents.windows, 100, told)
        found = matcher.decoder.levels(picture.latents, "a photo of car")
    assert [tuple(level.shape) for level in found] == [(16, 2, 2), (12, 4, 4), (8, 8, 8)]
    for level, slow in zip(found, expected[:3], strict=True):
        torch.testing.assert_close(level, slow[0], rtol=1e-4, atol=1e-5)


def test_latents_are_means_under_one_noise(deep: Path, pictures: list[NDArray[np.uint8]]) -> None:
    matcher = load(deep, seed=42)
    decoder = matcher.decoder
    (picture,) = matcher.encode(pictures[:1])
    square = decoder.preprocessing.normalised(pictures[0])
    window = torch.from_numpy(square[None, :, 32:96, 0:64].copy())
    parts = decoder.diffusion
    # What ODISE draws: one window's noise, before anything else.
    noise = torch.randn((1, 4, 16, 16), generator=torch.Generator().manual_seed(42))
    scheduler = diffusers.DDIMScheduler.from_pretrained(deep, subfolder="scheduler")
    with torch.inference_mode():
        mean = parts.autoencoder.encode(window).latent_dist.mean
        scaled = mean * parts.autoencoder.config.scaling_factor
        expected = scheduler.add_noise(scaled, noise, torch.tensor(100))
    assert decoder.starts == [(0, 0), (0, 32), (32, 0), (32, 32)]
    torch.testing.assert_close(picture.latents.windows[2], expected[0], rtol=1e-4, atol=1e-5)


def test_windows_of_512_cover_960_pixels_as_odise_lays_them() -> None:
    assert window_starts(960, 512) == [(0, 0), (0, 448), (448, 0), (448, 448)]
    assert window_starts(512, 512) == [(0, 0)]
    assert [top for top, left in window_starts(1100, 512) if left == 0] == [0, 512, 588]


def test_where_windows_overlap_their_features_are_averaged() -> None:
    starts = window_starts(80, 48)
    parts = torch.rand(4, 2, 6, 6, generator=torch.Generator().manual_seed(1))
    found = stitched(parts, starts, 48)
    for channel, row, column in np.ndindex(2, 10, 10):
        here = [
            float(part[channel, row - top // 8, column - left // 8])
            for part, (top, left) in zip(parts, starts, strict=True)
            if 0 <= row - top // 8 < 6 and 0 <= column - left // 8 < 6
        ]
        assert float(found[channel, row, column]) == pytest.approx(np.mean(here), abs=1e-6)


def slow_components(samples: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    left, values, _ = np.linalg.svd(samples - samples.mean(axis=0), full_matrices=False)
    return np.asarray(left[:, :count] * values[:count])


@pytest.mark.parametrize(("cells", "channels"), [(40, 7), (9, 30)])
def test_components_are_those_of_a_singular_value_decomposition(cells: int, channels: int) -> None:
    samples = np.random.default_rng(1).normal(3, 1, (cells, channels)) * np.arange(1, channels + 1)
    found = principal(torch.from_numpy(samples), 4).numpy()
    expected = slow_components(samples, 4)
    assert found.shape == (cells, 4)
    np.testing.assert_allclose(abs(found), abs(expected), atol=1e-8)  # the sign of an axis is free
    assert principal(torch.from_numpy(samples), 100).shape == (cells, min(cells, channels))


def slow_pair(
    source: list[Tensor], target: list[Tensor], dimensions: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(channels, cells) of both pictures: each level by itself, the coarsest enlarged twice."""
    sides: tuple[list[NDArray[np.float64]], ...] = ([], [])
    for level, pair in enumerate(zip(source, target, strict=True)):
        cells = [each.flatten(1).T.double().numpy() for each in pair]
        scores = slow_components(np.concatenate(cells), dimensions)
        for side, part in zip(sides, np.split(scores, 2), strict=True):
            grid = torch.from_numpy(part.T.reshape(1, -1, *pair[0].shape[1:]).copy())
            for finer in source[level + 1 :]:
                grid = functional.interpolate(grid, finer.shape[1:], mode="bilinear")
            side.append(grid[0].flatten(1).numpy())
    return np.concatenate(sides[0]), np.concatenate(sides[1])


def some_levels(seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((9, 2, 2), (7, 3, 3), (6, 5, 5))
    return [torch.randn(shape, generator=generator) * 2 + 1 for shape in shapes]


def test_a_pairs_levels_are_reduced_together_and_enlarged_step_by_step() -> None:
    source, target = some_levels(1), some_levels(2)
    first, second = reduced(tuple(source), tuple(target), 4)
    assert first.shape == second.shape == (5, 5, 12)
    slow = slow_pair(source, target, 4)
    products = first.flatten(0, 1) @ second.flatten(0, 1).T
    np.testing.assert_allclose(products.numpy(), slow[0].T @ slow[1], atol=1e-3)
    # The finest level stands first.
    np.testing.assert_allclose(
        first[:, :, :4].flatten(0, 1).abs().numpy(), abs(slow[0][-4:].T), atol=1e-4
    )


def test_the_answer_is_the_cell_at_the_least_distance(
    deep: Path, pictures: list[NDArray[np.uint8]]
) -> None:
    matcher = load(deep, timestep=70)
    features = matcher.encode(pictures)
    query = question(*features)
    found = matcher.match([query])[0]
    kinds = [each.made["a photo of car"] for each in features]
    sd = slow_pair([*kinds[0].levels], [*kinds[1].levels], 5)
    joined = []
    for side, each in zip(sd, kinds, strict=True):
        fine = torch.from_numpy(side.reshape(1, -1, 12, 12))
        grid = functional.interpolate(fine, (6, 6), mode="bilinear")[0].numpy()
        tokens = each.tokens.double().numpy()
        halves = [part / np.linalg.norm(part, axis=0) for part in (grid, tokens)]
        joined.append(np.concatenate(halves))
    answers = []
    frame = matcher.tokens.preprocessing.frame(SIZES[0])
    for point, answer in zip(frame.from_original(query.points), found, strict=True):
        distances = slow_distances(joined[0], joined[1], point)
        near = min(distances, key=lambda cell: np.linalg.norm(np.subtract(cell, answer)))
        np.testing.assert_allclose(answer, near, atol=1e-9)  # the centre of a cell
        # In float32 one of two cells that are as near.
        assert distances[near] <= min(distances.values()) + 1e-5
        answers.append(near)
    assert len(set(answers)) > 4


def slow_distances(
    source: NDArray[np.float64], target: NDArray[np.float64], point: Points
) -> dict[tuple[float, float], float]:
    """Each cell's centre in original pixels and its distance; 6 x 6 cells of 16 pixels."""
    column, row = (int(value // 16) for value in point)
    width = round(96 * 51 / 60)  # columns of the target; the square's others are bars
    left = (96 - width) // 2
    return {
        ((16 * x + 8.0 - left) * 51 / width, (16 * y + 8.0) * 60 / 96): float(
            np.linalg.norm(source[:, row, column] - target[:, y, x])
        )
        for y, x in np.ndindex(6, 6)
        if left <= 16 * x + 8 < left + width
    }


def test_every_picture_passes_the_unet_once_for_a_prompt(
    deep: Path, pictures: list[NDArray[np.uint8]]
) -> None:
    matcher = load(deep, batch_size=3)
    sizes: list[int] = []
    matcher.decoder.diffusion.unet.register_forward_hook(
        lambda _, inputs, __: sizes.append(len(inputs[0]))
    )
    features = matcher.encode(pictures)
    matcher.match([question(*features), question(features[0], features[1], 2)])
    assert sizes == [3, 1, 3, 1]  # four windows each, three at a time


def test_how_many_windows_run_at_once_does_not_matter(
    deep: Path, pictures: list[NDArray[np.uint8]]
) -> None:
    levels = []
    for size in (1, 4):
        matcher = load(deep, batch_size=size)
        (picture,) = matcher.encode(pictures[:1])
        levels.append(matcher.decoder.levels(picture.latents, ""))
    for one, other in zip(*levels, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_the_record_tells_the_published_settings(deep: Path) -> None:
    small: dict[str, Any] = {
        "side": 96,
        "sd_side": 96,
        "device": "cpu",
        "network": "vit_tiny_patch16_224",
        "network_weights": "random",
    }
    matcher: Any = load_model("sd-dino", checkpoint=str(deep), **small)
    details = dict(matcher.details)
    assert json.loads(json.dumps(details)) == details
    expected = {"timestep": 100, "dimensions": 256, "share": 0.5, "seed": 42, "readout": "sd-dino"}
    assert expected.items() <= details.items()
    assert details["prompt"] == "a photo of {category}"
    assert details["sd window"] == 96  # no window is larger than the picture


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sd_side": 100}, "side 100: sd-dino takes multiples of 32, the nearest is 96"),
        ({"window": 50}, "side 50: sd-dino takes multiples of 32, the nearest is 64"),
        ({"dimensions": 0}, "dimensions 0: give at least 1"),
        ({"timestep": 1000}, "timestep 1000: choose from 0 to 999"),
        ({"readout": "full"}, "'full' compares pixels"),
        ({"layers": "3"}, "'sd-dino' takes no layers; it takes checkpoint, network_weights, time"),
        ({"window": "wide"}, "window is 'wide'; give a whole number"),
    ],
)
def test_what_cannot_be_is_explained(deep: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput, match=message) as refusal:
        load(deep, **options)
    assert "\n" not in str(refusal.value)


def test_bfloat16_changes_levels_little_and_the_analysis_not_at_all(
    deep: Path, pictures: list[NDArray[np.uint8]]
) -> None:
    matcher = load(deep, precision="bfloat16")
    features = matcher.encode(pictures)
    assert np.isfinite(matcher.match([question(*features)])[0]).all()
    made = features[0].made["a photo of car"]
    assert all(level.dtype == torch.float32 for level in made.levels)
    exact = load(deep)
    other = exact.decoder.levels(exact.encode(pictures[:1])[0].latents, "a photo of car")
    for one, two in zip(made.levels, other, strict=True):
        assert not torch.equal(one, two)
        assert functional.cosine_similarity(one.flatten(), two.flatten(), dim=0) > 0.98


@pytest.mark.parametrize("name", ["sd-dino", "geoaware-zero"])
def test_without_the_library_one_line_tells_what_to_install(
    deep: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    expected = rf"{name} needs diffusers; pip install 'spairc\[diffusion\]'"
    with pytest.raises(BadInput, match=expected) as refusal:
        load_model(name, checkpoint=str(deep))
    assert "\n" not in str(refusal.value)
