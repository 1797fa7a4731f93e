"""The published networks as matchers: whole pictures, original pixels, checkpoints."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from spairc.images import read_image
from spairc.types import BadInput, Features, Image, Matcher, Points, Query, Size
from spairc_models import MODELS, load_model, load_network, network_matchers
from spairc_models.adapter import TorchMatcher
from spairc_models.networks import NETWORKS

slow = pytest.mark.slow
# The quick tier runs the wiring of the others small, in test_networks.
MATCHERS = [
    "cats",
    "scorrsan",
    *(pytest.param(name, marks=slow) for name in ("catspp", "transformatcher", "chm")),
]
# Their stored answers, which need weights of their own kind, are in test_older_networks.
OLDER = [pytest.param(n, marks=slow) for n in ("cnngeo", "weakalign", "ncnet", "dhpf", "vat")]
NAMES = [name for name in MODELS if name in NETWORKS]


def texture(seed: int, width: int, height: int) -> Image:
    """A smooth picture in which no two places look alike."""
    draws = np.random.default_rng(seed)
    coarse = PIL.Image.fromarray(draws.integers(0, 256, (11, 13, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((width, height), PIL.Image.Resampling.BICUBIC))


# The second has odd sides and the third is much higher than wide.
PICTURES = (texture(1, 310, 220), texture(2, 97, 201), texture(3, 45, 333))


def size_of(image: Image) -> Size:
    return Size(image.shape[1], image.shape[0])


def some_points(count: int, image: Image) -> Points:
    draws = np.random.default_rng(count)
    points: Points = draws.uniform(0, 1, (count, 2)) * np.array(size_of(image))
    return points


@pytest.fixture(scope="module", params=[*MATCHERS, *OLDER])
def untrained(request: pytest.FixtureRequest) -> tuple[Matcher, list[Features]]:
    """A matcher with random weights and its features of the three pictures."""
    matcher = load_model(request.param, weights="random", device="cpu")
    return matcher, matcher.encode(PICTURES)


def query(features: list[Features], points: Points, source: int = 0, target: int = 1) -> Query:
    return Query(
        source=features[source],
        target=features[target],
        points=points,
        source_size=size_of(PICTURES[source]),
        target_size=size_of(PICTURES[target]),
        category="duck",
    )


def test_every_number_of_points_is_answered(untrained: tuple[Matcher, list[Features]]) -> None:
    matcher, features = untrained
    asked = [some_points(count, PICTURES[0]) for count in (1, 40, 7)]
    found = matcher.match([query(features, points) for points in asked])
    assert [len(each) for each in found] == [1, 40, 7]
    assert all(each.dtype == np.float64 and np.isfinite(each).all() for each in found)


def test_an_answer_depends_on_nothing_else_that_is_asked(
    untrained: tuple[Matcher, list[Features]],
) -> None:
    matcher, features = untrained
    points = some_points(5, PICTURES[0])
    alone = matcher.match([query(features, points)])[0]
    single = matcher.match([query(features, points[2:3])])[0]
    others = [query(features, some_points(11, PICTURES[2]), 2, 1), query(features, points[::-1])]
    among = matcher.match([others[0], query(features, points), others[1]])
    assert np.array_equal(among[1], alone)
    assert np.allclose(among[2][::-1], alone, atol=1e-3)
    assert np.allclose(single[0], alone[2], atol=1e-3)


def test_neither_the_size_of_a_batch_nor_padding_changes_an_answer(
    untrained: tuple[Matcher, list[Features]], monkeypatch: pytest.MonkeyPatch
) -> None:
    matcher, features = untrained
    roles = [(0, 1, 2), (2, 0, 9), (1, 2, 1), (1, 0, 5)]  # source, target, points
    asked = [query(features, some_points(n, PICTURES[s]), s, t) for s, t, n in roles]
    alone = matcher.match(asked)
    monkeypatch.setitem(network_matchers.PAIRS_AT_ONCE, "cpu", 3)
    for one, other in zip(matcher.match(asked), alone, strict=True):
        assert np.allclose(one, other, atol=2e-2)


def test_features_depend_on_their_own_picture_alone(
    untrained: tuple[Matcher, list[Features]],
) -> None:
    matcher, features = untrained
    again = matcher.encode([PICTURES[2]])[0]
    for one, other in zip(again, features[2], strict=True):
        assert torch.equal(one, other)


def test_points_on_the_border_and_beyond_are_answered(
    untrained: tuple[Matcher, list[Features]],
) -> None:
    matcher, features = untrained
    width, height = size_of(PICTURES[0])
    points = np.array([[0.0, 0], [width, height], [width - 1, 0], [-2, height + 3], [0, 7.5]])
    found = matcher.match([query(features, points)])[0]
    assert np.isfinite(found).all()
    # A mean of places in the picture lies in the picture; a flow may lead a little outside.
    reach = np.array(size_of(PICTURES[1]))
    if matcher.name != "vat":  # nothing bounds the places that random weights regress
        assert (found > -reach).all()
        assert (found < 2 * reach).all()


def test_answers_are_in_the_targets_own_pixels(
    untrained: tuple[Matcher, list[Features]],
) -> None:
    matcher, features = untrained
    asked = query(features, some_points(6, PICTURES[0]))
    wider = Size(3 * asked.target_size.width, asked.target_size.height)
    stretched = Query(
        asked.source, asked.target, asked.points, asked.source_size, wider, asked.category
    )
    found, other = matcher.match([asked, stretched])
    frame = matcher.preprocessing.frame  # type: ignore[attr-defined]  # every network's has one
    expected = frame(wider).to_original(frame(asked.target_size).from_original(found))
    assert np.allclose(other, expected)
    assert np.allclose(other[:, 1], found[:, 1])


def test_a_picture_serves_in_either_role(untrained: tuple[Matcher, list[Features]]) -> None:
    matcher, features = untrained
    there, back = matcher.match(
        [
            query(features, some_points(3, PICTURES[0])),
            query(features, some_points(3, PICTURES[1]), 1, 0),
        ]
    )
    assert there.shape == back.shape == (3, 2)
    assert not np.allclose(there, back)


@pytest.mark.parametrize(
    "name", ["cats", *(pytest.param(name, marks=slow) for name in ("catspp", "scorrsan", "chm"))]
)
def test_shorter_numbers_move_answers_and_do_not_break_them(name: str) -> None:
    points = some_points(9, PICTURES[0])
    found = []
    for precision in ("float32", "bfloat16"):
        matcher = load_model(name, weights="random", device="cpu", precision=precision)
        found.append(matcher.match([query(matcher.encode(PICTURES), points)])[0])
    assert np.isfinite(found[1]).all()
    assert not np.array_equal(found[0], found[1])
    assert np.abs(found[0] - found[1]).max() < max(size_of(PICTURES[1]))


# Stored answers


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


@pytest.mark.parametrize("name", MATCHERS)
def test_photographs_are_answered_as_by_the_published_program(
    shared: Path, named_weights: ModuleType, tmp_path: Path, name: str
) -> None:
    expected = np.load(shared / "golden" / "matchers" / f"{name}.npz")
    network = load_network(name)
    named_weights.fill(network)
    torch.save({"epoch": 3, "state_dict": network.state_dict()}, tmp_path / "model_best.pth")
    matcher = load_model(name, checkpoint=str(tmp_path), device="cpu")
    root = shared / "data" / "SPair-mini"
    pair = json.loads((root / str(expected["pair"])).read_text())
    folder = root / "JPEGImages" / pair["category"]
    source, target = (read_image(folder / pair[name]) for name in ("src_imname", "trg_imname"))
    first, second = matcher.encode([source, target])
    points = expected["photo_points"].astype(np.float64)
    asked = Query(first, second, points, size_of(source), size_of(target), pair["category"])
    assert np.abs(matcher.match([asked])[0] - expected["photo_found"]).max() < 0.05


# Given points


@pytest.mark.parametrize("width", [300, 333, 375, 480, 500])
def test_points_are_cut_to_the_pixel_that_float32_puts_them_in(width: int) -> None:
    whole = np.arange(width, dtype=np.float64)
    ratio = torch.tensor(256 / width, dtype=torch.float32)
    expected = torch.arange(width, dtype=torch.float32) * ratio
    points = np.stack([whole, whole], axis=1) * [256 / width, 256 / 77]
    asked = Query(None, None, points, Size(width, 77), Size(9, 9), "car")
    assert torch.equal(network_matchers._padded([asked], 256)[0, :, 0].long(), expected.long())


# Checkpoints


WAYS: dict[str, Callable[[dict[str, Tensor], Path], Path]] = {
    "bare": lambda state, folder: _saved(state, folder / "weights.pth"),
    "wrapped": lambda state, folder: _saved({"state_dict": state}, folder / "weights.pt"),
    "parallel": lambda state, folder: _saved(
        {f"module.{key}": value for key, value in state.items()}, folder / "weights.pth"
    ),
    "safetensors": lambda state, folder: _safe(state, folder / "weights.safetensors"),
}


def _saved(content: object, path: Path) -> Path:
    torch.save(content, path)
    return path


def _safe(state: dict[str, Tensor], path: Path) -> Path:
    save_file({key: value.contiguous().clone() for key, value in state.items()}, path)
    return path


@pytest.mark.parametrize(
    "way", ["wrapped", *(pytest.param(way, marks=slow) for way in WAYS if way != "wrapped")]
)
def test_a_checkpoint_comes_back_in_every_packing(way: str, tmp_path: Path) -> None:
    trained: Any = load_network("scorrsan", seed=5)
    path = WAYS[way](trained.state_dict(), tmp_path)
    matcher = load_model("scorrsan", checkpoint=str(path), device="cpu")
    assert isinstance(matcher, TorchMatcher)
    features = matcher.encode(PICTURES[:1])[0]
    inputs = torch.from_numpy(matcher.preprocessing.normalised(PICTURES[0])).unsqueeze(0)
    with torch.inference_mode():
        expected = trained.encode_features(inputs)
    for one, other in zip(features, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "made", "settings"),
    [
        ("cats", "cats-pfpascal", {}),
        ("scorrsan", "scorrsan", {"outputs": 1024, "reach": 13}),
        ("matchme-cats", "cats", {}),
        pytest.param("semimatch-cats", "cats", {}, marks=slow),
        pytest.param("matchme-catspp", "catspp", {}, marks=slow),
        pytest.param("transformatcher", "transformatcher", {}, marks=slow),
        pytest.param("chm", "chm", {}, marks=slow),
    ],
)
def test_a_checkpoint_tells_what_it_was_made_with(
    name: str, made: str, settings: dict[str, int], tmp_path: Path
) -> None:
    path = _saved(load_network(made, **settings).state_dict(), tmp_path / "weights.pth")
    assert load_model(name, checkpoint=str(path), device="cpu").name == name


def test_a_checkpoint_of_another_network_is_refused_by_name(tmp_path: Path) -> None:
    path = _saved(load_network("scorrsan").state_dict(), tmp_path / "weights.pth")
    with pytest.raises(BadInput, match=r"does not fit cats: .* a checkpoint of scorrsan"):
        load_model("cats", checkpoint=str(path))


def test_a_checkpoint_that_lacks_a_tensor_is_refused(tmp_path: Path) -> None:
    state = load_network("cats").state_dict()
    del state["x_normal"]
    path = _saved(state, tmp_path / "weights.pth")
    with pytest.raises(BadInput, match="x_normal missing"):
        load_model("cats", checkpoint=str(path))


@pytest.mark.parametrize("name", NAMES)
def test_without_weights_one_line_says_where_they_are_to_be_had(name: str) -> None:
    with pytest.raises(BadInput, match=f"model '{name}' needs weights") as refusal:
        load_model(name)
    text = str(refusal.value)
    assert "\n" not in text
    assert (MODELS[name].weights or "not public") in text
    assert MODELS[name].recipe in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": "IMAGENET1K_V2"}, "cats knows only 'random' or a checkpoint"),
        ({"weights": "random", "checkpoint": "x.pth"}, "either a checkpoint or weights"),
        ({"checkpoint": "nowhere.pth"}, "nowhere.pth does not exist"),
        ({"hyperpixels": "0,first"}, "write the numbers of layers as 0,8,20"),
        ({"hyperpixels": ""}, "write the numbers of layers"),
        ({"reach": 3}, "'cats' takes no reach"),
    ],
)
def test_a_wrong_option_is_explained(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        load_model("cats", **options)


@pytest.mark.parametrize("name", NAMES)
def test_the_table_and_the_network_agree_on_the_input(name: str) -> None:
    assert MODELS[name].side == NETWORKS[name].side


def test_reported_numbers_are_those_of_the_papers() -> None:
    reported = {name: MODELS[name].reported["spair71k"] for name in NAMES}
    assert reported == {
        "cnngeo": 20.6,
        "weakalign": 20.9,
        "ncnet": 20.1,
        "dhpf": 37.3,
        "vat": 54.2,
        "chm": 46.3,
        "cats": 49.9,
        "semimatch-cats": 50.7,
        "matchme-cats": 53.0,
        "transformatcher": 53.7,
        "scorrsan": 55.3,
        "catspp": 59.8,
        "matchme-catspp": 62.0,
    }
