"""Warps of PWarpC's program: against places and pictures that were moved by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch

from matchme_train.consistency_settings import KINDS, Families, WarpConsistency
from matchme_train.known_warps import (
    _MAKERS,
    Triplets,
    _matrix,
    _projected,
    draw_known_warp,
    known_places,
    warped_by,
)
from matchme_train.sections import Amplitudes, Network
from spairc.datasets import load_dataset
from spairc.types import BadInput

STILL = Amplitudes(rotation=0, axis=0, scale=0, shift=0, bend=0)
CORNERS = torch.tensor([[-1.0, -1], [-1, 1], [1, -1], [1, 1]], dtype=torch.float64)


def draws(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


def places(count: int = 7) -> torch.Tensor:
    return torch.from_numpy(draws(1).uniform(-1, 1, (count, 2)))


def test_every_kind_that_may_be_chosen_is_made() -> None:
    assert tuple(_MAKERS) == KINDS


def test_a_homography_takes_corners_to_their_places_and_lines_to_lines() -> None:
    moved = torch.tensor([[-1.2, -0.8], [-0.7, 1.1], [0.9, -1.3], [1.3, 0.8]], dtype=torch.float64)
    matrix = _matrix(moved)
    torch.testing.assert_close(_projected(matrix, CORNERS), moved)
    start, end = places(2)
    line = _projected(matrix, torch.stack([start, 0.3 * start + 0.7 * end, end]))
    (ax, ay), (bx, by) = (line[1] - line[0]).tolist(), (line[2] - line[0]).tolist()
    assert ax * by - ay * bx == pytest.approx(0, abs=1e-12)
    assert ax / bx != pytest.approx(0.7)  # lengths are not kept: it is not affine


@pytest.mark.parametrize("kind", KINDS)
def test_a_warp_by_nothing_leaves_every_place(kind: str) -> None:
    families = Families(kinds=(kind,), amplitudes=STILL, corner=0, flip=0)
    torch.testing.assert_close(draw_known_warp(families, draws())(places()), places())


def test_a_spline_alone_has_no_affine_part() -> None:
    families = Families(kinds=("spline",), amplitudes=Amplitudes(bend=0), flip=0)
    torch.testing.assert_close(draw_known_warp(families, draws())(places()), places())


@pytest.mark.parametrize("kind", KINDS)
def test_a_flip_is_the_same_warp_with_left_and_right_exchanged_before(kind: str) -> None:
    plain, flipped = (
        draw_known_warp(Families(kinds=(kind,), flip=chance), draws()) for chance in (0, 1)
    )
    mirrored = places() * torch.tensor([-1.0, 1.0])
    torch.testing.assert_close(flipped(places()), plain(mirrored))


def test_the_corners_of_a_homography_move_as_far_as_is_allowed() -> None:
    warp = [draw_known_warp(Families(kinds=("homography",), flip=0), draws(i)) for i in range(40)]
    far = torch.stack([(each(CORNERS) - CORNERS).abs().amax() for each in warp])
    assert 0.35 < float(far.max()) <= 0.4


def test_known_places_are_cells_of_the_unwarped_picture() -> None:
    still = Families(kinds=("homography",), corner=0, flip=1)
    found = known_places(draw_known_warp(still, draws()), 5)
    for row in range(5):
        for column in range(5):
            assert found[:, row, column].tolist() == pytest.approx([4 - column, row], abs=1e-5)


def test_a_warped_picture_has_what_stands_at_the_known_places() -> None:
    ramp = torch.arange(24.0).expand(2, 24, 24).clone()
    ramp[1] = ramp[0].T
    warp = draw_known_warp(Families(), draws(3))
    found, wanted = warped_by(ramp, warp), known_places(warp, 24)
    torch.testing.assert_close(found, wanted.clamp(0, 23), atol=2e-4, rtol=0)


@pytest.mark.parametrize(
    ("kinds", "message"),
    [(("spline", "affin"), "no kind of warp is called 'affin'"), ((), "empty")],
)
def test_kinds_that_there_are_not_are_refused(kinds: tuple[str, ...], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Families(kinds=kinds)


@pytest.fixture
def triplets(training_root: Path) -> Triplets:
    still = WarpConsistency(chance=0, warped_chance=0, crop=0)
    network = Network(name="cats", side=64, cells=4)
    return Triplets(load_dataset("spair71k", training_root, split="trn"), network, still, (1, 2))


def test_the_third_picture_is_the_first_one_warped(triplets: Triplets) -> None:
    item = triplets.item(0, 1)
    assert item.known is not None
    assert item.clean_first is not None
    assert item.target is not None
    warp = draw_known_warp(triplets.settings.families, np.random.default_rng((1, 2, 0, 1)))
    torch.testing.assert_close(item.first, warped_by(item.clean_first, warp), atol=1e-4, rtol=0)
    assert torch.equal(item.known, known_places(warp, 4))
    assert bool((item.target != 0).any())
    assert not torch.equal(item.first, item.clean_first)


def test_the_noise_of_the_three_pictures_is_drawn_apart(training_root: Path) -> None:
    noisy = WarpConsistency(
        chance=0.5,
        warped_chance=0.5,
        crop=0,
        families=Families(kinds=("homography",), corner=0, flip=0),
    )
    dataset = load_dataset("spair71k", training_root, split="trn")
    items = Triplets(dataset, Network(name="cats", side=64, cells=4), noisy, (1, 2))
    apart = [items.item(epoch, 0) for epoch in range(4)]
    noisy_ones = []
    for each in apart:
        assert each.clean_first is not None
        noisy_ones.append(not torch.allclose(each.first, each.clean_first, atol=1e-3))
    assert any(noisy_ones)
    again = items.item(2, 0)
    assert torch.equal(again.first, apart[2].first)
