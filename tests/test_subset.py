"""Subsets are fixed, nested, of every category, and hold both directions of a pair or neither."""

from itertools import pairwise, permutations

import numpy as np
import pytest

from spairc.pairs import PairTable, table_of
from spairc.subset import SHARES, first_pairs, share_of_pairs
from spairc.types import BadInput, Box, Pair, Size

CATEGORIES = {"car": 9, "duck": 5, "train": 2}  # pictures


def pair(category: str, source: int, target: int) -> Pair:
    """A pair of pictures that are told apart by number."""
    return Pair(
        id=f"{source}-{target}:{category}",
        category=category,
        source=f"{category}/{source}",
        target=f"{category}/{target}",
        source_points=np.array([[3.0, 4.0]]),
        target_points=np.array([[9.0, 8.0]]),
        source_box=Box(1, 2, 70, 40),
        target_box=Box(0, 0, 50, 21),
        source_size=Size(90, 70),
        target_size=Size(51, 33),
    )


TABLE = table_of(
    [
        pair(category, *ends)
        for category, count in CATEGORIES.items()
        for ends in permutations(range(count), 2)
    ]
)


def ends(table: PairTable) -> set[tuple[str, str]]:
    """Who is asked of whom."""
    return set(zip(table.sources.tolist(), table.targets.tolist(), strict=True))


@pytest.mark.parametrize("share", SHARES)
def test_a_share_holds_both_directions_of_a_pair_or_neither(share: float) -> None:
    chosen = ends(TABLE.select(share_of_pairs(TABLE, share)))
    assert chosen == {(target, source) for source, target in chosen}


@pytest.mark.parametrize("share", SHARES)
def test_a_share_is_that_of_every_category_and_none_is_lost(share: float) -> None:
    chosen = TABLE.select(share_of_pairs(TABLE, share))
    for category, count in CATEGORIES.items():
        whole = count * (count - 1) / 2
        kept = (chosen.categories == category).sum() / 2
        assert kept == max(1, round(share * whole))


def test_shares_are_nested_and_the_whole_is_the_list_itself() -> None:
    chosen = [set(share_of_pairs(TABLE, share).tolist()) for share in SHARES]
    assert all(smaller < larger or len(smaller) == 6 for larger, smaller in pairwise(chosen))
    np.testing.assert_array_equal(share_of_pairs(TABLE, 1), np.arange(len(TABLE)))


def test_which_pairs_are_chosen_does_not_depend_on_the_order_of_the_list() -> None:
    shuffled = TABLE.select(np.random.default_rng(5).permutation(len(TABLE)))
    assert ends(shuffled.select(share_of_pairs(shuffled, 0.25))) == ends(
        TABLE.select(share_of_pairs(TABLE, 0.25))
    )


@pytest.mark.parametrize("share", [0.0, -0.5, 1.01, float("nan")])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(BadInput, match="give a number above 0, at most 1"):
        share_of_pairs(TABLE, share)


@pytest.mark.parametrize("limit", range(2, 20))
def test_a_limit_keeps_both_directions_of_a_pair_or_neither(limit: int) -> None:
    chosen = ends(TABLE.select(first_pairs(TABLE, limit)))
    assert chosen == {(target, source) for source, target in chosen}
    assert len(chosen) == limit - limit % 2


def test_a_limit_that_cuts_a_pair_in_half_is_refused() -> None:
    with pytest.raises(BadInput, match="--limit 1 is too few: a pair is kept both ways; allow 2"):
        first_pairs(TABLE, 1)


def test_a_list_that_is_not_closed_under_swapping_is_limited_pair_by_pair() -> None:
    one_way = TABLE.select(np.array([0, 1]))
    np.testing.assert_array_equal(first_pairs(one_way, 1), [0])
