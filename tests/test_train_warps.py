"""Warps against points that were warped by hand, and their way back."""

import numpy as np
import pytest
import torch
from torch import Tensor

from matchme_train.sections import Amplitudes
from matchme_train.warps import (
    IDENTITY,
    arrivals,
    draw_warp,
    grid,
    origins,
    published_steps,
    resampled,
    warped_picture,
)


def affine(*numbers: float) -> Tensor:
    """A warp with this affine map and a spline that does nothing."""
    return torch.cat([torch.tensor(numbers, dtype=torch.float64), IDENTITY[6:]])


def some_warp(seed: int = 3, strength: float = 0.5) -> Tensor:
    draws = np.random.default_rng(seed)
    return torch.from_numpy(draw_warp(Amplitudes(), draws, strength))


def test_an_affine_warp_moves_a_point_as_by_hand() -> None:
    warp = affine(0.5, 0.25, 0.1, -0.2, 2.0, -0.3)
    (found,) = origins(warp.unsqueeze(0), torch.tensor([[0.4, -0.6]]))
    # x is half of 0.4, less a quarter of 0.6, plus 0.1; y likewise.
    torch.testing.assert_close(found, torch.tensor([[0.15, -1.58]]).double(), atol=1e-7, rtol=0)


def test_a_spline_takes_its_control_places_to_where_it_is_told() -> None:
    warp = IDENTITY.clone()
    warp[6 + 5] = 0.2  # x of the control place at x = 0, y = 1
    warp[15 + 6] = -0.7  # y of the one at x = 1, y = -1
    places = torch.tensor([[0.0, 1.0], [1.0, -1.0], [-1.0, 0.0]])
    (found,) = origins(warp.unsqueeze(0), places)
    wanted = torch.tensor([[0.2, 1.0], [1.0, -0.7], [-1.0, 0.0]]).double()
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)


def test_a_spline_minimises_bending_as_scipys_does() -> None:
    from scipy.interpolate import RBFInterpolator

    warp = some_warp()
    warp[:6] = IDENTITY[:6]
    controls = np.array([[x, y] for x in (-1, 0, 1) for y in (-1, 0, 1)], dtype=float)
    spline = RBFInterpolator(controls, warp[6:].view(2, 9).T.numpy(), kernel="thin_plate_spline")
    asked = np.random.default_rng(1).uniform(-1, 1, (12, 2))
    (found,) = origins(warp.unsqueeze(0), torch.from_numpy(asked))
    np.testing.assert_allclose(found.numpy(), spline(asked), atol=1e-9)


def test_the_identity_leaves_every_place_and_picture_as_it_is() -> None:
    places = grid(7).flatten(0, 1)
    (found,) = origins(IDENTITY.unsqueeze(0), places)
    torch.testing.assert_close(found, places, atol=1e-12, rtol=0)
    picture = torch.rand(3, 10, 10, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(warped_picture(picture, IDENTITY), picture, atol=1e-5, rtol=0)


@pytest.mark.parametrize("seed", range(5))
def test_arrivals_are_the_way_back(seed: int) -> None:
    warp = some_warp(seed)
    draws = np.random.default_rng(seed)
    places = torch.from_numpy(draws.uniform(-0.9, 0.9, (20, 2)))
    found, inside = arrivals(warp, places)
    assert int(inside.sum()) >= 5
    (back,) = origins(warp.unsqueeze(0), found[inside])
    torch.testing.assert_close(back, places[inside], atol=2e-6, rtol=0)


def test_a_point_that_leaves_the_picture_is_told_so() -> None:
    # The warped picture shows the original's right half only: its origin is x / 2 + 1 / 2.
    warp = affine(0.5, 0, 0.5, 0, 1, 0)
    found, inside = arrivals(warp, torch.tensor([[0.6, 0.3], [-0.2, 0.3]]))
    assert inside.tolist() == [True, False]
    torch.testing.assert_close(found[0], torch.tensor([0.2, 0.3]).double(), atol=1e-6, rtol=0)


def test_a_spot_of_the_picture_arrives_where_its_point_does() -> None:
    warp, side = some_warp(9), 81
    spot = torch.tensor([[0.2, -0.35]]).double()
    apart = (grid(side) - spot).square().sum(dim=-1)
    picture = torch.exp(-apart / 0.01).float().expand(3, -1, -1)
    shown = warped_picture(picture, warp)[0]
    brightest = int(shown.argmax())
    found, inside = arrivals(warp, spot)
    assert inside.tolist() == [True]
    seen = grid(side).flatten(0, 1)[brightest]
    torch.testing.assert_close(seen, found[0], atol=2 / side, rtol=0)


def test_what_comes_from_outside_is_black() -> None:
    picture = torch.ones(3, 8, 8)
    shown = warped_picture(picture, affine(1, 0, 1, 0, 1, 0))  # its right half lies beyond
    assert bool((shown[:, :, :3] == 1).all())
    assert bool((shown[:, :, 4:] == 0).all())


def test_strength_multiplies_every_amplitude_and_none_is_no_warp() -> None:
    warps = [some_warp(strength=strength) for strength in (0.0, 0.25, 0.5)]
    torch.testing.assert_close(warps[0], IDENTITY, atol=1e-12, rtol=0)
    moved = [warp[6:] - IDENTITY[6:] for warp in warps]
    torch.testing.assert_close(2 * moved[1], moved[2])


def test_draws_stay_within_their_amplitudes() -> None:
    draws = np.random.default_rng(0)
    amplitudes = Amplitudes(rotation=0, axis=0, scale=0.1, shift=0.2, bend=0.3)
    warps = np.array([draw_warp(amplitudes, draws) for _ in range(300)])
    away = np.abs(warps - IDENTITY.numpy()).max(axis=0)
    assert (away[[0, 4]] <= 0.1).all()
    assert (away[[0, 4]] > 0.09).all()
    assert (away[[1, 3]] < 1e-12).all()
    assert (away[[2, 5]] <= 0.2).all()
    assert (away[6:] <= 0.3).all()


def test_rotation_and_scales_are_the_affine_maps_singular_values() -> None:
    draws = np.random.default_rng(6)
    warp = draw_warp(Amplitudes(scale=0), draws)
    linear = warp[:6].reshape(2, 3)[:, :2]
    np.testing.assert_allclose(linear @ linear.T, np.eye(2), atol=1e-12)
    assert abs(np.rad2deg(np.arctan2(linear[1, 0], linear[0, 0]))) <= 15


def test_the_published_warp_by_nothing_costs_the_outer_ring() -> None:
    steps = published_steps(IDENTITY.unsqueeze(0), 6)
    kept = resampled(torch.ones(1, 1, 6, 6), steps, "nearest")[0, 0]
    wanted = torch.zeros(6, 6)
    wanted[1:5, 1:5] = 1
    assert torch.equal(kept, wanted)
