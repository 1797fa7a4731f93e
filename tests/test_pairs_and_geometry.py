"""Pair tables say what a list of pairs says; frames go there and back."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spairc.geometry import inner_size, padded, squashed
from spairc.pairs import PairTable, read_pairs, table_of, write_pairs
from spairc.types import BadInput, Box, Pair, Size, Variation


def pair(number: int, points: int) -> Pair:
    """A pair in which nothing equals anything of another number."""
    start = 100.0 * number
    return Pair(
        id=f"{number:06}-ä-b:car",
        category="car" if number < 3 else "duck",
        source=f"car/{number}",
        target=f"car/{number + 1}",
        source_points=np.arange(2 * points, dtype=np.float64).reshape(points, 2) + start,
        target_points=np.arange(2 * points, dtype=np.float64).reshape(points, 2) - start,
        source_box=Box(1 + start, 2, 30, 41),
        target_box=Box(3 + start, 2, 30, 55),
        source_size=Size(90 + number, 70),
        target_size=Size(51 + number, 33),
        variation=Variation(2, 1, number % 4, 2),
    )


PAIRS = [pair(number, points) for number, points in enumerate([3, 1, 7, 2, 4])]


def same(one: Pair, other: Pair) -> bool:
    """Whether two pairs are equal in every field."""
    return all(
        np.array_equal(getattr(one, field.name), getattr(other, field.name))
        for field in fields(Pair)
    )


def test_a_table_gives_back_the_pairs_it_was_made_of() -> None:
    table = table_of(PAIRS)
    assert len(table) == 5
    assert all(same(one, other) for one, other in zip(table, PAIRS, strict=True))
    assert same(table[-1], PAIRS[-1])
    with pytest.raises(IndexError):
        table[5]


def test_a_table_of_nothing_is_refused() -> None:
    with pytest.raises(BadInput, match="no pairs"):
        table_of([])


def test_a_slice_and_a_selection_keep_points_with_their_pairs() -> None:
    table = table_of(PAIRS)
    assert [each.id for each in table[1:3]] == [PAIRS[1].id, PAIRS[2].id]
    chosen = table.select(np.array([4, 0, 2]))
    assert all(same(chosen[i], PAIRS[j]) for i, j in enumerate([4, 0, 2]))
    np.testing.assert_array_equal(chosen.counts, [4, 3, 7])


def test_the_swapped_table_holds_the_swapped_pairs() -> None:
    swapped = table_of(PAIRS).swapped()
    assert all(same(one, other.swapped()) for one, other in zip(swapped, PAIRS, strict=True))


def test_rows_of_pairs_are_where_their_points_are() -> None:
    table = table_of(PAIRS)
    np.testing.assert_array_equal(table.rows(np.array([3, 1])), [11, 12, 3])
    np.testing.assert_array_equal(table.pair_of_point[[0, 3, 11]], [0, 1, 3])


def test_a_table_survives_a_file_and_keeps_its_hash(tmp_path: Path) -> None:
    table = table_of(PAIRS)
    write_pairs(tmp_path / "pairs.parquet", table)
    again = read_pairs(tmp_path / "pairs.parquet")
    assert all(same(one, other) for one, other in zip(again, PAIRS, strict=True))
    assert again.hash == table.hash
    for field in fields(PairTable):
        assert getattr(again, field.name).dtype.kind == getattr(table, field.name).dtype.kind


@pytest.mark.parametrize("field", [field.name for field in fields(Pair)])
def test_the_hash_changes_with_every_field(field: str) -> None:
    old = PAIRS[2]
    value = getattr(old, field)
    changed: Any = value + "x" if isinstance(value, str) else np.asarray(value) + 1
    other = [*PAIRS[:2], replace(old, **{field: changed}), *PAIRS[3:]]
    assert table_of(other).hash != table_of(PAIRS).hash


def test_the_hash_changes_when_a_point_moves_to_the_next_pair() -> None:
    table = table_of(PAIRS)
    moved = replace(table, first_point=table.first_point + np.array([0, 1, 0, 0, 0, 0]))
    assert moved.hash != table.hash


@pytest.mark.parametrize("content", [b"", b"PAR1 no parquet PAR1"])
def test_a_damaged_pair_list_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "pairs.parquet").write_bytes(content)
    with pytest.raises(BadInput, match=r"pairs\.parquet is no pair list"):
        read_pairs(tmp_path / "pairs.parquet")


def test_a_missing_pair_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"pairs\.parquet is missing"):
        read_pairs(tmp_path / "pairs.parquet")


sizes = st.builds(Size, st.integers(32, 900), st.integers(32, 900))


@given(size=sizes, side=st.sampled_from([240, 256, 512, 840]))
@pytest.mark.parametrize("frame", [squashed, padded])
def test_points_come_back_from_a_frame(frame: object, size: Size, side: int) -> None:
    points = np.array([[0.0, 0.0], [size.width - 1.0, size.height - 1.0], [7.25, 3.5]])
    there = frame(size, side).from_original(points)  # type: ignore[operator]  # parametrised
    assert (there >= 0).all()
    assert (there <= side).all()
    back = frame(size, side).to_original(there)  # type: ignore[operator]  # parametrised
    np.testing.assert_allclose(back, points, atol=1e-9)


def test_squashing_scales_each_axis_on_its_own() -> None:
    frame = squashed(Size(300, 150), 256)
    np.testing.assert_allclose(frame.from_original(np.array([[150.0, 75.0]])), [[128, 128]])


def test_padding_keeps_the_aspect_and_centres_the_picture() -> None:
    frame = padded(Size(300, 150), 256)
    assert inner_size(Size(300, 150), 256) == Size(256, 128)
    np.testing.assert_allclose(frame.from_original(np.array([[0.0, 0.0]])), [[0, 64]])
