"""HPF and SCOT: the published answers, slow references, and what a matcher must keep."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from torch.nn import functional

from spairc.images import read_image
from spairc.types import BadInput, Features, Image, Matcher, Points, Query, Size
from spairc_models import load_model
from spairc_models.hough import Cells, hough_matching
from spairc_models.hyperpixel import Boxes, Sizing, cosine_rows, moved, picture_of
from spairc_models.hyperpixel_matcher import HyperpixelMatcher
from spairc_models.resnet import ResNet
from spairc_models.scot import Weighted, plan_rows

SMALL: dict[str, Any] = {
    "network": "torchvision:mobilenet_v2",
    "layers": "6,13",
    "weights": "random",
}


def texture(seed: int, width: int, height: int) -> Image:
    """A smooth picture in which no two places look alike."""
    draws = np.random.default_rng(seed)
    coarse = PIL.Image.fromarray(draws.integers(0, 256, (11, 13, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((width, height), PIL.Image.Resampling.BICUBIC))


# The first is shrunk; the second is smaller than the input, with odd sides; the third is thin.
PICTURES = (texture(1, 411, 302), texture(2, 97, 151), texture(3, 21, 333))


def size_of(image: Image) -> Size:
    return Size(image.shape[1], image.shape[0])


def some_points(count: int) -> Points:
    draws = np.random.default_rng(count)
    return np.asarray(draws.uniform(0, 1, (count, 2)) * np.array(size_of(PICTURES[0])))


@pytest.fixture(scope="module", params=["hpf", "scot"])
def matcher(request: pytest.FixtureRequest) -> HyperpixelMatcher:
    made = load_model(request.param, device="cpu", **SMALL)
    assert isinstance(made, HyperpixelMatcher)
    return made


@pytest.fixture(scope="module")
def features(matcher: Matcher) -> list[Features]:
    return matcher.encode(PICTURES)


def query(features: list[Features], points: Points, source: int = 0, target: int = 1) -> Query:
    return Query(
        source=features[source],
        target=features[target],
        points=points,
        source_size=size_of(PICTURES[source]),
        target_size=size_of(PICTURES[target]),
        category="duck",
    )


# What every matcher keeps


def test_every_number_of_points_is_answered(matcher: Matcher, features: list[Features]) -> None:
    asked = [query(features, some_points(count)) for count in (1, 40, 7)]
    found = matcher.match(asked)
    assert [each.shape for each in found] == [(1, 2), (40, 2), (7, 2)]
    assert all(np.isfinite(each).all() for each in found)


def test_an_answer_depends_on_nothing_else_that_is_asked(
    matcher: Matcher, features: list[Features]
) -> None:
    points = some_points(40)
    together = matcher.match([query(features, points), query(features, points[:3], 0, 2)])
    alone = np.concatenate(
        [matcher.match([query(features, points[i : i + 1])])[0] for i in (0, 39)]
    )
    assert np.array_equal(together[0][[0, 39]], alone)
    assert np.array_equal(matcher.match([query(features, points[::-1])])[0][::-1], together[0])


def test_a_picture_is_encoded_alike_alone_and_among_others(
    matcher: Matcher, features: list[Features]
) -> None:
    again = matcher.encode(PICTURES[2:] + PICTURES[:2])
    turned = [again[1], again[2], again[0]]
    points = some_points(9)
    for target in (1, 2):
        asked = [query(each, points, 0, target) for each in (features, turned)]
        one, other = matcher.match(asked)
        assert np.array_equal(one, other)


def test_points_on_the_border_and_beyond_it_are_answered(
    matcher: Matcher, features: list[Features]
) -> None:
    width, height = size_of(PICTURES[0])
    border = np.array([[0, 0], [width - 1, 0], [0, height - 1], [width - 1, height - 1], [-9, 999]])
    for target in (1, 2):
        assert np.isfinite(
            matcher.match([query(features, border.astype(float), 0, target)])[0]
        ).all()


def test_a_picture_matches_itself_without_moving(
    matcher: Matcher, features: list[Features]
) -> None:
    points = np.array([[180.0, 150.0], [260.0, 120.0]])
    found = matcher.match([query(features, points, 0, 0)])[0]
    assert np.abs(found - points).max() < 1e-3


# Published answers


@pytest.fixture(scope="module")
def named_weights(shared: Path) -> ModuleType:
    """What draws weights from the names of tensors, and the synthetic pictures."""
    path = shared / "golden" / "named_weights.py"
    spec = importlib.util.spec_from_file_location("named_weights", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def drawn_weights(named_weights: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ResNet-101 whose weights are drawn from the names of its tensors."""
    network = ResNet()
    named_weights.fill(network)
    file = tmp_path_factory.mktemp("drawn") / "resnet101.pth"
    torch.save(network.state_dict(), file)
    return file


CASES = [("hpf", False), ("scot", False), ("scot", True)]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "cam"), CASES)
def test_photographs_are_answered_as_by_the_published_program(
    shared: Path, drawn_weights: Path, name: str, cam: bool
) -> None:
    expected = np.load(shared / "golden" / "matchers" / f"{name}.npz")
    options = {"cam": True} if cam else {}
    matcher = load_model(name, checkpoint=str(drawn_weights), device="cpu", **options)
    assert isinstance(matcher, HyperpixelMatcher)
    root = shared / "data" / "SPair-mini"
    pair = json.loads((root / str(expected["pair"])).read_text())
    folder = root / "JPEGImages" / pair["category"]
    source, target = (read_image(folder / pair[name]) for name in ("src_imname", "trg_imname"))
    inner = [matcher.sizing.inner(size_of(each)) for each in (source, target)]
    assert [[height, width] for width, height in inner] == expected["photo_inner_sizes"].tolist()
    points = expected["photo_points"].astype(np.float64)
    sizes = size_of(source), size_of(target)
    features = matcher.encode([source, target])
    asked = Query(features[0], features[1], points, sizes[0], sizes[1], "car")
    suffix = "_cam" if cam else ""
    assert np.abs(matcher.match([asked])[0] - expected[f"photo_found{suffix}"]).max() < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hpf", "scot"])
def test_votes_and_scores_are_those_of_the_published_program(
    shared: Path, named_weights: ModuleType, drawn_weights: Path, name: str
) -> None:
    expected = np.load(shared / "golden" / "matchers" / f"{name}.npz")
    matcher = load_model(name, checkpoint=str(drawn_weights), device="cpu")
    assert isinstance(matcher, HyperpixelMatcher)
    side = int(expected["side"])
    first, second = matcher.encode([named_weights.image(seed, side) for seed in (1, 2)])
    votes = torch.cat([row.flatten(1) for row in matcher.rows(first, second)])
    assert tuple(votes.shape) == tuple(expected["correlation_shape"])
    scores = hough_matching(votes, matcher.cells(first), matcher.cells(second))
    step = int(expected["correlation_step"][0])
    for found, wanted in ((votes, expected["appearance"]), (scores, expected["correlation"])):
        sample = found[::step, ::step].numpy()
        assert np.abs(sample - wanted).max() < 2e-5 * np.abs(wanted).max()
    points = expected["points"].astype(np.float64)
    asked = Query(first, second, points, Size(side, side), Size(side, side), "car")
    assert np.abs(matcher.match([asked])[0] - expected["found"]).max() < 0.01


# Slow references

BOXES = Boxes(step=4, reach=5)


def maps(seed: int, *shapes: tuple[int, int, int]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in shapes]


FIRST = maps(1, (3, 6, 5), (4, 3, 2), (5, 2, 2))
SECOND = maps(2, (3, 4, 7), (4, 2, 4), (5, 1, 2))
SIZES = Size(19, 23), Size(27, 15)


def enlarged(layers: list[torch.Tensor], boxes: Boxes, size: Size) -> torch.Tensor:
    """Features enlarged and concatenated, then cut: (C, rows, columns)."""
    shape = layers[0].shape[1:]
    joined = [
        functional.interpolate(each[None], shape, mode="bilinear", align_corners=True)[0]
        for each in layers
    ]
    rows, columns = boxes.kept(shape[0], size.height), boxes.kept(shape[1], size.width)
    return torch.cat(joined)[:, rows.start : rows.stop, columns.start : columns.stop]


@pytest.mark.parametrize("prune", [False, True])
def test_cosines_are_those_of_features_that_are_enlarged_and_joined(prune: bool) -> None:
    boxes = Boxes(4, 5, prune)
    pictures = [
        picture_of(each, size, boxes) for each, size in zip((FIRST, SECOND), SIZES, strict=True)
    ]
    found = torch.stack(list(cosine_rows(*pictures)))
    one, other = (
        enlarged(each, boxes, size) for each, size in zip((FIRST, SECOND), SIZES, strict=True)
    )
    assert found.shape == (*one.shape[1:], *other.shape[1:])
    for y, x, v, u in np.ndindex(*found.shape):
        expected = functional.cosine_similarity(one[:, y, x], other[:, v, u], dim=0)
        assert float(found[y, x, v, u]) == pytest.approx(float(expected), abs=1e-5)


def test_a_cell_without_features_is_like_nothing() -> None:
    blank = [each.clone() for each in FIRST[:1]]
    blank[0][:, 2, 3] = 0
    row = list(
        cosine_rows(picture_of(blank, SIZES[0], BOXES), picture_of(SECOND[:1], SIZES[1], BOXES))
    )[2]
    assert torch.equal(row[3], torch.zeros_like(row[3]))
    assert row.abs().sum() > 0


def weighted(layers: list[torch.Tensor], size: Size, seed: int) -> Weighted:
    picture = picture_of(layers, size, BOXES)
    mass = torch.rand(picture.shares.shape, generator=torch.Generator().manual_seed(seed)) + 0.1
    return Weighted(picture, mass / mass.sum())


@pytest.mark.parametrize(("epsilon", "exponent"), [(0.05, 1.0), (0.2, 0.5)])
def test_a_plan_is_one_round_of_sinkhorn_as_its_equations_say(
    epsilon: float, exponent: float
) -> None:
    first, second = weighted(FIRST, SIZES[0], 1), weighted(SECOND, SIZES[1], 2)
    votes = torch.stack(list(plan_rows(first, second, epsilon, exponent))).flatten(2).flatten(0, 1)
    cosines = torch.stack(list(cosine_rows(first.picture, second.picture)))
    cost = 1 - cosines.flatten(2).flatten(0, 1).double().clamp(min=0)
    mu, nu = first.mass.flatten().double(), second.mass.flatten().double()
    kernel, factors = torch.exp(-cost / epsilon), torch.full_like(mu, 1 / len(mu))
    columns = nu / (kernel.T @ factors)
    plan = torch.diag(mu / (kernel @ columns)) @ kernel @ torch.diag(columns)
    assert torch.allclose(votes.double(), (len(mu) * plan) ** exponent, rtol=1e-4)
    assert torch.allclose(plan.sum(dim=1), mu)


def test_an_entropy_too_small_for_float32_is_doubled() -> None:
    first, second = weighted(FIRST, SIZES[0], 1), weighted(SECOND, SIZES[1], 2)
    votes = torch.stack(list(plan_rows(first, second, 0.0005, 1.0)))
    assert torch.isfinite(votes).all()
    assert votes.sum() == pytest.approx(first.mass.numel(), rel=1e-4)


def test_a_point_moves_as_the_cells_around_it_do_on_average() -> None:
    cells = Cells(rows=5, columns=6, size=Size(23, 19), step=4)
    points = np.array([[9.0, 6.0]])  # between columns 1 to 3 and rows 1 and 2
    covering = BOXES.covering(points, cells)
    assert covering == [[7, 8, 9, 13, 14, 15]]
    best = {7: 7, 8: 8, 9: 9, 13: 13, 14: 14, 15: 28}  # the last goes 2 rows down, 1 right
    assert moved(points, covering, best, cells, cells).tolist() == [[9 + 4 / 6, 6 + 8 / 6]]


def test_a_point_that_no_cell_covers_has_the_nearest() -> None:
    cells = Cells(rows=3, columns=3, size=Size(15, 15), step=4, top=1, left=1)
    assert BOXES.covering(np.array([[-30.0, 6.5]]), cells) == [[0, 3]]


def test_boxes_far_outside_the_picture_are_left_out_unless_none_would_stay() -> None:
    boxes = Boxes(step=4, reach=5, prune=True)
    assert boxes.kept(6, 22) == range(1, 6)  # the first reaches to -5
    assert boxes.kept(6, 21) == range(1, 5)  # the last to 25, four and more beyond 20
    assert boxes.kept(1, 3) == range(1)


@pytest.mark.parametrize(
    ("given", "enlarge", "expected"),
    [((600, 299), False, (300, 149)), ((200, 90), False, (200, 90)), ((200, 90), True, (300, 135))],
)
def test_the_longer_side_becomes_300(
    given: tuple[int, int], enlarge: bool, expected: tuple[int, int]
) -> None:
    assert Sizing(enlarge=enlarge).inner(Size(*given)) == expected


# Options


def test_voting_can_be_left_out() -> None:
    plain = load_model("hpf", device="cpu", voting=False, **SMALL)
    assert isinstance(plain, HyperpixelMatcher)
    one, other = plain.encode(PICTURES[:2])
    found = plain.match([query([one, other], some_points(5))])[0]
    voted = load_model("hpf", device="cpu", **SMALL).match([query([one, other], some_points(5))])[0]
    assert not np.array_equal(found, voted)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "hpf",
            {"network": "vgg"},
            "network 'vgg': choose from resnet50, resnet101, or torchvision",
        ),
        ("hpf", {"weights": "random", "layers": "0,34"}, "layer '34': the layers of resnet101"),
        ("hpf", {"weights": "random", "checkpoint": "x.pth"}, "either a checkpoint or weights"),
        ("hpf", {"network": "torchvision:vit_b_16", "weights": "random"}, "takes 224 only"),
        ("scot", {"cam": True, **SMALL}, "has no activation maps"),
        ("scot", {"epsilon": 0.0}, "epsilon 0.0: give a positive number"),
    ],
)
def test_a_wrong_option_is_explained(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        load_model(name, **options)
