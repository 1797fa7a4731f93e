"""How pairs become network input: crops, squares, targets, views, all from their own numbers."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from matchme_train.data import (
    Batch,
    Chances,
    Item,
    Labelled,
    TwoViews,
    UnlabelledPair,
    Warping,
    WithoutLabels,
    collated,
    draw_window,
    in_square,
    normalised,
    square,
    whole,
)
from matchme_train.recipe import SemiMatch
from matchme_train.sections import Amplitudes, Network
from matchme_train.targets import labelled
from matchme_train.warps import warped_picture
from spairc.datasets import load_dataset
from spairc.datasets.dataset import Dataset
from spairc.images import read_image
from spairc.types import Box

NETWORK = Network(name="cats", side=64, cells=8, field=9, weights="random")
STILL = Chances("cats", 0)


@pytest.fixture
def dataset(tiny_root: Path) -> Dataset:
    return load_dataset("spair71k", tiny_root)


def same(one: Item, other: Item) -> bool:
    pairs = [(getattr(one, f.name), getattr(other, f.name)) for f in fields(one)]
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in pairs)


def test_without_noise_a_pair_is_squashed_and_normalised(dataset: Dataset) -> None:
    item = Labelled(dataset, NETWORK, STILL, (0, 0)).item(0, 3)
    pair = dataset[3]
    path = dataset.path(pair.source)
    plain = PIL.Image.fromarray(read_image(path)).resize((64, 64), PIL.Image.Resampling.BILINEAR)
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    wanted = (np.asarray(plain) / 255 - mean) / deviation
    np.testing.assert_allclose(item.first.permute(1, 2, 0), wanted, atol=1e-5)
    assert item.id == pair.id


def test_the_target_leads_from_the_source_point_to_the_target_point(dataset: Dataset) -> None:
    item = Labelled(dataset, NETWORK, STILL, (0, 0)).item(0, 0)  # its pair has one point
    pair = dataset[0]
    given = pair.source_points[0] * 64 / np.array(pair.source_size)
    answer = pair.target_points[0] * 64 / np.array(pair.target_size)
    assert item.target is not None
    mask = labelled(item.target.unsqueeze(0))[0]
    rows, columns = mask.nonzero().T
    centres = torch.stack([columns * 8 + 4, rows * 8 + 4], dim=1).numpy()
    assert len(centres)
    assert (np.abs(centres - given) <= 4).all()
    flows = item.target[:, rows, columns].T.numpy()
    np.testing.assert_allclose(flows, np.tile((answer - given) / 8, (len(flows), 1)), atol=1e-5)


def test_an_item_depends_on_key_epoch_and_place_alone(dataset: Dataset) -> None:
    noise = Chances("cats", 0.5, 0.5)
    items = Labelled(dataset, NETWORK, noise, (7, 1), Warping(Amplitudes(), 0.5))
    item = items.item(2, 1)
    for _ in range(2):
        items.item(0, 0)
    assert same(items.item(2, 1), item)
    assert not same(items.item(3, 1), item)
    other = Labelled(dataset, NETWORK, noise, (8, 1), Warping(Amplitudes(), 0.5))
    assert not same(other.item(2, 1), item)


def test_a_crop_holds_the_box_and_lies_in_the_picture() -> None:
    image = np.zeros((60, 90, 3), dtype=np.uint8)
    box = Box(20.5, 10, 70.2, 41)
    draws = np.random.default_rng(0)
    windows = [draw_window(image, box, 1.0, draws) for _ in range(300)]
    for left, top, right, bottom in windows:
        assert 0 <= left <= 20
        assert 0 <= top <= 10
        assert 71 <= right <= 90
        assert 41 <= bottom <= 60
    assert {window.left for window in windows} == set(range(21))
    assert {window.bottom for window in windows} == set(range(41, 61))


@pytest.mark.parametrize("box", [Box(-3, -2, 95, 70), Box(0, 0, 90, 60), Box(89.6, 59.7, 90, 60)])
def test_a_box_at_or_beyond_the_border_gives_a_crop_with_pixels(box: Box) -> None:
    image = np.zeros((60, 90, 3), dtype=np.uint8)
    draws = np.random.default_rng(1)
    for _ in range(50):
        left, top, right, bottom = draw_window(image, box, 1.0, draws)
        assert 0 <= left < right <= 90
        assert 0 <= top < bottom <= 60


def test_crops_come_as_often_as_told() -> None:
    image = np.zeros((60, 90, 3), dtype=np.uint8)
    draws = np.random.default_rng(0)
    box = Box(30, 20, 50, 40)
    uncut = sum(draw_window(image, box, 0.3, draws) == whole(image) for _ in range(500))
    assert 310 < uncut < 390


def test_points_move_with_their_crop() -> None:
    image = np.zeros((60, 90, 3), dtype=np.uint8)
    image[40, 50] = 255
    window = Box(30, 20, 70, 52)
    (found,) = in_square(np.array([[50.0, 40.0]]), window, 64)
    assert found.tolist() == [20 * 64 / 40, 20 * 64 / 32]
    shown = square(image, window, 64)[0]
    row, column = divmod(int(shown.argmax()), 64)
    assert abs(column - float(found[0])) <= 1.5
    assert abs(row - float(found[1])) <= 1.5


def test_a_warped_pairs_labels_sit_where_the_points_went(dataset: Dataset) -> None:
    warping = Warping(Amplitudes(rotation=0, axis=0, scale=0, shift=0.2, bend=0), 1.0)
    draws = np.random.default_rng((0, 0, 0, 0))
    # Nothing else draws before the warp, save two crops and two times seven operations.
    plain = Labelled(dataset, NETWORK, STILL, (0, 0)).item(0, 0)
    moved = Labelled(dataset, NETWORK, STILL, (0, 0), warping).item(0, 0)
    draws.random(16)
    draws.uniform(size=2)  # angle and axis
    draws.uniform(size=2)  # scales
    shift = draws.uniform(-0.2, 0.2, 2)
    pair = dataset[0]
    given = pair.source_points[0] * 64 / np.array(pair.source_size)
    wanted = given - shift * 32
    assert moved.target is not None
    rows, columns = labelled(moved.target.unsqueeze(0))[0].nonzero().T
    assert len(rows)
    assert (np.abs(columns.numpy() * 8 + 4 - wanted[0]) <= 4.01).all()
    assert (np.abs(rows.numpy() * 8 + 4 - wanted[1]) <= 4.01).all()
    assert torch.equal(plain.second, moved.second)
    assert not torch.equal(plain.first, moved.first)


def test_pairs_without_labels_have_clean_pictures_and_a_warped_first(dataset: Dataset) -> None:
    paths = [dataset.path(key) for key in ("car/a", "car/b")]
    pairs = [UnlabelledPair("x", *paths)]
    items = WithoutLabels(pairs, NETWORK, STILL, (0, 0), Warping(Amplitudes(), 0.5))
    item = items.item(0, 0)
    clean = [square(image, whole(image), 64) for image in map(read_image, paths)]
    assert item.target is None
    assert item.warp is not None
    assert item.clean_first is not None
    assert torch.equal(item.clean_first, normalised(clean[0]))
    assert torch.equal(item.second, normalised(clean[1]))
    assert torch.equal(item.first, normalised(warped_picture(clean[0], item.warp)))


def test_the_strong_view_erases_about_key_points_and_the_weak_one_does_not(
    dataset: Dataset,
) -> None:
    none = {"weak_chance": 0.0, "strong_chance": 0.0, "crop": 0.0, "erase_sizes": (0.2, 0.2)}
    still = Amplitudes(rotation=0, axis=0, scale=0, shift=0, bend=0)
    item, kept = (
        TwoViews(dataset, NETWORK, SemiMatch(erase=chance, warp=still, **none), (0, 0)).item(0, 0)  # type: ignore[arg-type]  # as named
        for chance in (1.0, 0.0)
    )
    assert item.clean_second is not None
    assert torch.equal(kept.second, item.clean_second)
    changed = (item.second != item.clean_second).any(dim=0).nonzero().float()
    pair = dataset[0]
    answer = pair.target_points[0] * 64 / np.array(pair.target_size)
    middle = (changed.amin(dim=0) + changed.amax(dim=0)) / 2
    np.testing.assert_allclose(middle.numpy()[::-1], answer, atol=2)
    assert item.first_box is not None
    box = np.array(pair.source_box) / np.tile(pair.source_size, 2) * 8
    np.testing.assert_allclose(item.first_box, box, rtol=1e-5)


def test_a_batch_stacks_what_is_there_and_leaves_warps_on_the_cpu(dataset: Dataset) -> None:
    items = Labelled(dataset, NETWORK, STILL, (0, 0))
    batch = collated([items.item(0, index) for index in range(3)])
    assert batch.ids == tuple(dataset[index].id for index in range(3))
    assert batch.first.shape == (3, 3, 64, 64)
    assert batch.warp is None
    warp = torch.zeros(3, 24)
    marked = Batch(*[*(getattr(batch, f.name) for f in fields(batch)[:6]), warp, None, None])
    moved = marked.to(torch.device("meta"))
    assert moved.first.is_meta
    assert moved.warp is warp
