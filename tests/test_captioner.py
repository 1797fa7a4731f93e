"""ODISE's captioner, with tiny random networks and a file made here in the layout of ODISE's."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from spairc.types import BadInput, Query

diffusers = pytest.importorskip("diffusers", reason="needs the extra `diffusion`")
timm = pytest.importorskip("timm", reason="needs the extra `timm`")


def loaded(name: str) -> ModuleType:
    """Another test file, for what it makes."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


test_levels = loaded("test_levels")
folder, texture = test_levels.folder, test_levels.texture  # the fixtures
deep, pictures = test_levels.deep, test_levels.pictures
CLIP = "vit_tiny_patch16_224"
# Of the captioner for an embedding of 1000 channels, prompts of 9 tokens of 20, times of 32.
SHAPES = {
    "clip_project.linear.weight": (20, 1000),
    "clip_project.linear.bias": (20,),
    "clip_project.positional_embedding": (1, 9, 20),
    "alpha_cond": (1, 9, 20),
    "time_embed_project.linear.weight": (32, 1000),
    "time_embed_project.linear.bias": (32,),
    "time_embed_project.positional_embedding": (1, 1, 32),
    "alpha_cond_time_embed": (32,),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Tensor]]:
    """ODISE's file, with a mask generator's tensor in it, and CLIP's; and what the first holds."""
    root = tmp_path_factory.mktemp("odise")
    generator = torch.Generator().manual_seed(8)
    own = {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}
    state = {f"backbone.feature_extractor.{name}": tensor for name, tensor in own.items()}
    state["sem_seg_head.weight"] = torch.zeros(2)
    torch.save({"model": state}, root / "odise.pth")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(3)
        torch.save(timm.create_model(CLIP).state_dict(), root / "clip.pth")
    return root / "odise.pth", root / "clip.pth", own


def load(deep: Path, files: tuple[Path, Path, dict[str, Tensor]], **options: Any) -> Any:
    captioner, clip, _ = files
    given = {"captioner": str(captioner), "clip": CLIP, "clip_checkpoint": str(clip), **options}
    return test_levels.load(deep, **given)


def question(features: list[Any], category: str = "car") -> Query:
    asked: Query = test_levels.question(*features)
    return Query(
        source=asked.source,
        target=asked.target,
        points=asked.points,
        source_size=asked.source_size,
        target_size=asked.target_size,
        category=category,
    )


def said_slowly(
    window: NDArray[np.float32], clip: Path, own: dict[str, Tensor], empty: Tensor
) -> tuple[Tensor, Tensor]:
    """What a window (3, side, side) in [0, 1] tells the UNet, and adds to the time."""
    network = timm.create_model(CLIP).eval()
    network.load_state_dict(torch.load(clip))
    config = timm.models.get_pretrained_cfg(CLIP)
    resized = torch.nn.functional.interpolate(
        torch.from_numpy(window)[None], (224, 224), mode="bicubic"
    )[0]
    normal = torch.stack(
        [
            (channel - mean) / std
            for channel, mean, std in zip(resized, config.mean, config.std, strict=True)
        ]
    )
    seen = network(normal[None])[0]
    placed = own["clip_project.linear.weight"] @ seen + own["clip_project.linear.bias"]
    told = empty + own["alpha_cond"].tanh() * (placed + own["clip_project.positional_embedding"])
    late = own["time_embed_project.linear.weight"] @ seen + own["time_embed_project.linear.bias"]
    late = late + own["time_embed_project.positional_embedding"][0, 0]
    return told, own["alpha_cond_time_embed"].tanh() * late


@pytest.mark.parametrize("prompt", [None, "a duck"])
def test_the_unet_is_told_what_clip_sees_of_each_window(
    deep: Path,
    files: tuple[Path, Path, dict[str, Tensor]],
    pictures: list[NDArray[np.uint8]],
    prompt: str | None,
) -> None:
    matcher = load(deep, files, sd_side=64, window=64, prompt=prompt)
    features = matcher.encode(pictures)
    matcher.match([question(features)])
    square = matcher.decoder.preprocessing.square(pictures[0]).astype(np.float32) / 255
    diffusion = matcher.decoder.diffusion
    whole = diffusers.UNet2DConditionModel.from_pretrained(
        deep, subfolder="unet", low_cpu_mem_usage=False
    )
    with torch.inference_mode():
        told, added = said_slowly(square.transpose(2, 0, 1), *files[1:], diffusion.told(""))
        if prompt is not None:
            told = diffusion.told(prompt)  # the time is the captioner's still
        expected = test_levels.decoded_slowly(whole, features[0].latents.windows, 100, told, added)
    for level, slow in zip(features[0].made[prompt].levels, expected[:3], strict=True):
        torch.testing.assert_close(level, slow[0], rtol=1e-3, atol=1e-4)


def test_what_the_captioner_says_does_not_depend_on_the_category(
    deep: Path, files: tuple[Path, Path, dict[str, Tensor]], pictures: list[NDArray[np.uint8]]
) -> None:
    matcher = load(deep, files)
    features = matcher.encode(pictures)
    first, second = matcher.match([question(features), question(features, "duck")])
    assert np.array_equal(first, second)
    assert set(features[0].made) == {None}
    said = features[0].latents.told
    assert len(said) == 4
    assert not torch.allclose(said[0], said[3], atol=1e-4)  # each window by itself


def test_the_record_names_the_captioner(
    deep: Path, files: tuple[Path, Path, dict[str, Tensor]]
) -> None:
    details = dict(load(deep, files).details)
    assert details["prompt"] == "the captioner's"
    assert details["clip"] == CLIP
    assert len(details["captioner"]) == len(details["clip weights"]) == 64


def test_a_file_without_a_captioner_is_refused(
    deep: Path, files: tuple[Path, Path, dict[str, Tensor]], tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match=r"has no backbone\.feature_extractor\.\*; give ODISE's"):
        load(deep, files, captioner=str(files[1]))
    short = torch.load(files[0])["model"]
    del short["backbone.feature_extractor.alpha_cond"]
    torch.save(short, tmp_path / "short.pth")
    with pytest.raises(BadInput, match="does not fit ODISE's captioner: alpha_cond missing"):
        load(deep, files, captioner=str(tmp_path / "short.pth"))
