"""Random numbers by key: the definition in `spairc.draws`, repeated slowly in plain Python."""

import hashlib
import itertools
import math
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from spairc import spec
from spairc.draws import Draws, KeyedDraws, LegacyDraws, keyed_draws, philox, tables
from spairc.types import BadInput

KEY = bytes([1, 2, 3, 4, 250, 251, 252, 253])
SCALES = (60, 25, 12, 5, 3)  # shot noise, severity 1 to 5
UNHURRIED = settings(deadline=None)  # the first example builds the tables


def slow_philox(counter: tuple[int, ...], key: tuple[int, int]) -> tuple[int, ...]:
    """One block, from the paper's description, one whole number at a time."""
    a, b, c, d = counter
    low, high = key
    for _ in range(10):
        left, right = a * 0xD2511F53, c * 0xCD9E8D57
        a, b, c, d = (
            (right >> 32) ^ b ^ low,
            right & 0xFFFFFFFF,
            (left >> 32) ^ d ^ high,
            left & 0xFFFFFFFF,
        )
        low, high = (low + 0x9E3779B9) & 0xFFFFFFFF, (high + 0xBB67AE85) & 0xFFFFFFFF
    return a, b, c, d


def slow_words(key: bytes, draw: int) -> Iterator[int]:
    """The words of a draw, as the module's docstring tells them."""
    halves = int.from_bytes(key[:4], "little"), int.from_bytes(key[4:], "little")
    for block in itertools.count():
        yield from slow_philox((block, draw, 0, 0), halves)


def slow_half_words(key: bytes, draw: int) -> Iterator[int]:
    for word in slow_words(key, draw):
        yield word & 0xFFFF
        yield word >> 16


def exact_cumulative(mean: Fraction, columns: int) -> list[int]:
    """R(n) of the module's docstring, in fractions."""
    terms = [Fraction(1)]
    for n in range(1, columns):
        terms.append(terms[-1] * mean / n)
    sums = list(itertools.accumulate(terms))
    return [math.floor(part / sums[-1] * 2**32 + Fraction(1, 2)) for part in sums]


def slow_alias(weights: list[int]) -> tuple[list[int], list[int]]:
    """Thresholds and aliases as the module's docstring tells them."""
    columns = len(weights)
    share, left = 2**32 // columns, list(weights)
    thresholds, aliases, still_open = [share] * columns, list(range(columns)), set(range(columns))
    for _ in range(columns - 1):
        poorest = min(still_open, key=lambda n: (left[n], n))
        still_open.remove(poorest)
        richest = min(still_open, key=lambda n: (-left[n], n))
        thresholds[poorest], aliases[poorest] = left[poorest], richest
        left[richest] -= share - left[poorest]
    return thresholds, aliases


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        ((0,) * 4, (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((2**32 - 1,) * 4, (2**32 - 1,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_the_slow_generator_gives_the_published_answers(
    counter: tuple[int, ...], key: tuple[int, int], answer: str
) -> None:
    assert " ".join(f"{word:08x}" for word in slow_philox(counter, key)) == answer


def test_counter_0_of_key_0_gives_the_published_answer() -> None:
    block = philox.words(bytes(8), 0, 4, 0)
    assert [f"{word:08x}" for word in block] == ["6627e8d5", "e169c58d", "bc57ac4c", "9b00dbd8"]


@UNHURRIED
@given(
    st.binary(min_size=8, max_size=8),
    st.integers(0, 2**32 - 3),
    st.integers(0, 2**32 - 1),
)
def test_blocks_are_philox_of_key_position_and_draw(key: bytes, first: int, draw: int) -> None:
    halves = int.from_bytes(key[:4], "little"), int.from_bytes(key[4:], "little")
    found = philox.words(key, 4 * first, 12, draw).reshape(3, 4).tolist()
    assert found == [list(slow_philox((first + n, draw, 0, 0), halves)) for n in range(3)]


@UNHURRIED
@given(st.integers(0, 40), st.integers(0, 40))
def test_words_from_the_middle_are_those_of_the_whole(first: int, count: int) -> None:
    whole = philox.words(KEY, 0, 80, 3)
    assert philox.words(KEY, first, count, 3).tolist() == whole[first : first + count].tolist()


def test_the_normal_table_is_the_published_one() -> None:
    # spair-c depends on it: a change here needs a new version of the spec.
    units = np.round(tables.normal_table() * 2**16).astype("<i4")
    digest = hashlib.sha256(units.tobytes()).hexdigest()
    assert digest == "37f1630bb213c127fc4a76556aff62a7982fef9dce938113ba77ec8dc5aae6b5"


def test_the_normal_table_holds_each_bins_mean_to_its_last_digit() -> None:
    ends = special.ndtri(np.arange(65537) / 65536)
    with np.errstate(invalid="ignore"):
        density = np.exp(-(ends**2) / 2) / np.sqrt(2 * np.pi)
    means = 65536 * (density[:-1] - density[1:])
    assert np.abs(tables.normal_table() - means).max() < 2**-17 + 1e-9


def test_the_normal_table_is_odd_ascending_whole_in_its_unit_and_read_only() -> None:
    table = tables.normal_table()
    assert np.array_equal(table, -table[::-1])
    assert (np.diff(table) > 0).all()
    assert np.array_equal(table * 2**16, np.round(table * 2**16))
    assert not table.flags.writeable


def test_the_normal_table_has_variance_1() -> None:
    assert np.mean(tables.normal_table() ** 2) == pytest.approx(1, abs=2e-6)


@pytest.mark.parametrize("scale", SCALES)
def test_the_poisson_tables_have_the_least_sufficient_number_of_columns(scale: int) -> None:
    columns = tables.poisson_tables(scale).thresholds.shape[1]
    assert stats.poisson.sf(columns - 1, scale) < 2**-32
    assert stats.poisson.sf(columns // 2 - 1, scale) >= 2**-32


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("grey", [0, 1, 77, 254, 255])
def test_the_poisson_tables_are_those_of_exact_fractions(scale: int, grey: int) -> None:
    thresholds, aliases = tables.poisson_tables(scale)
    cumulative = exact_cumulative(Fraction(grey * scale, 255), thresholds.shape[1])
    weights = [b - a for a, b in itertools.pairwise([0, *cumulative])]
    slow_thresholds, slow_aliases = slow_alias(weights)
    assert thresholds[grey].tolist() == slow_thresholds
    assert aliases[grey].tolist() == slow_aliases


@pytest.mark.parametrize("scale", SCALES)
def test_the_poisson_tables_share_out_all_probability_as_poisson_does(scale: int) -> None:
    thresholds, aliases = tables.poisson_tables(scale)
    rows, columns = thresholds.shape
    weights = thresholds.astype(np.int64)
    row = np.arange(rows)[:, None]
    np.add.at(weights, (row, aliases), 2**32 // columns - thresholds.astype(np.int64))
    assert (weights.sum(axis=1) == 2**32).all()
    mean = np.arange(256)[:, None] * scale / 255
    expected = stats.poisson.pmf(np.arange(columns), mean)
    assert np.abs(weights / 2**32 - expected).max() < 2e-9


def test_a_normal_number_is_the_table_at_a_half_word() -> None:
    draws = KeyedDraws(KEY)
    draws.begin()  # so that the next is draw 1
    halves = itertools.islice(slow_half_words(KEY, 1), 30)
    assert draws.normal((5, 2, 3)).ravel().tolist() == [tables.normal_table()[k] for k in halves]


def test_a_uniform_number_is_the_middle_of_a_words_step() -> None:
    words = itertools.islice(slow_words(KEY, 0), 14)
    expected = [-3 + 10 * ((word + 0.5) / 2**32) for word in words]
    assert KeyedDraws(KEY).uniform(-3, 7, (7, 2)).ravel().tolist() == expected


def test_a_single_uniform_number_has_no_axes() -> None:
    assert KeyedDraws(KEY).uniform(-135, -45, ()).shape == ()
    assert LegacyDraws(3).uniform(-135, -45, ()).shape == ()


def test_an_impulse_is_a_small_word_or_a_large_one() -> None:
    words = itertools.islice(slow_words(KEY, 0), 300)
    few = math.floor(0.27 * 2**31 + 0.5)
    expected = [-1 if word < few else int(word >= 2**32 - few) for word in words]
    assert KeyedDraws(KEY).impulses((10, 10, 3), 0.27).ravel().tolist() == expected
    assert set(expected) == {-1, 0, 1}


def test_the_first_word_that_is_no_pepper_and_the_first_that_is_salt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ends = np.array([2**29 - 1, 2**29, 2**32 - 2**29 - 1, 2**32 - 2**29], dtype=np.uint32)
    monkeypatch.setattr(philox, "words", lambda *_: ends)
    assert KeyedDraws(KEY).impulses((4,), 0.25).tolist() == [-1, 0, 0, 1]


@pytest.mark.parametrize("scale", SCALES)
def test_a_count_is_a_column_or_its_alias(scale: int) -> None:
    grey = np.arange(252, dtype=np.uint8).reshape(12, 7, 3)
    thresholds, aliases = tables.poisson_tables(scale)
    share = 2**32 // thresholds.shape[1]
    expected = []
    for value, word in zip(grey.ravel().tolist(), slow_words(KEY, 0), strict=False):
        column, rest = divmod(word, share)
        kept = rest < thresholds[value, column]
        expected.append(column if kept else int(aliases[value, column]))
    assert KeyedDraws(KEY).poisson(grey, scale).ravel().tolist() == expected


@UNHURRIED
@given(st.integers(1, 2**32))
def test_an_integer_is_the_upper_word_of_the_first_fair_product(below: int) -> None:
    products = (word * below for word in slow_words(KEY, 0))
    fair = next(product for product in products if product % 2**32 >= 2**32 % below)
    assert KeyedDraws(KEY).integer(below) == fair >> 32


def test_an_unfair_word_is_passed_over() -> None:
    # With this many, a quarter of all words is; so one of forty draws has passed one over.
    below = 3 * 2**30
    first = [next(slow_words(KEY, draw)) * below for draw in range(40)]
    draws = KeyedDraws(KEY)
    found = [draws.integer(below) for _ in range(40)]
    assert any(product >> 32 != number for product, number in zip(first, found, strict=True))


@pytest.mark.parametrize("draws", [KeyedDraws(KEY), LegacyDraws(5)])
@pytest.mark.parametrize("below", [1, 2])
def test_integers_stay_below(draws: Draws, below: int) -> None:
    assert {draws.integer(below) for _ in range(40)} == set(range(below))


@UNHURRIED
@given(st.data())
@pytest.mark.parametrize("make", [lambda: KeyedDraws(KEY), lambda: LegacyDraws(5)])
def test_a_window_is_a_part_of_the_whole(make: type, data: st.DataObject) -> None:
    rows = slice(*sorted(data.draw(st.tuples(st.integers(0, 9), st.integers(0, 9)))))
    columns = slice(*sorted(data.draw(st.tuples(st.integers(0, 7), st.integers(0, 7)))))
    part = make().normal((9, 7), (rows, columns))
    assert np.array_equal(part, make().normal((9, 7))[rows, columns])


def test_a_window_leaves_later_draws_alone() -> None:
    with_window, without = LegacyDraws(5), LegacyDraws(5)
    with_window.normal((9, 7), (slice(2, 3), slice(4, 5)))
    without.normal((9, 7))
    assert with_window.uniform(0, 1, ()) == without.uniform(0, 1, ())


def test_each_thing_asked_for_is_a_draw_of_its_own() -> None:
    draws = KeyedDraws(KEY)
    first, second = draws.normal((40,)), draws.normal((40,))
    assert not np.intersect1d(first, second).size


def test_the_same_key_gives_the_same_numbers_again() -> None:
    cell = ("car/2008_000033", "fog", 3)
    assert np.array_equal(keyed_draws(*cell).normal((9, 4)), keyed_draws(*cell).normal((9, 4)))


def test_a_cells_key_is_the_specs() -> None:
    assert keyed_draws("car/a", "snow", 2).key == spec.draw_key("car/a", "snow", 2)


@pytest.mark.parametrize("length", [0, 7, 9])
def test_a_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(BadInput, match=f"has 8 bytes, not {length}"):
        KeyedDraws(bytes(length))


@pytest.mark.parametrize("below", [0, -1, 2**32 + 1])
def test_an_integer_from_an_empty_or_too_wide_range_is_refused(below: int) -> None:
    with pytest.raises(BadInput, match="choose from 1 to 2"):
        KeyedDraws(KEY).integer(below)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_numpy_does_not_know_is_refused(seed: int) -> None:
    with pytest.raises(BadInput, match=f"seed {seed} does not exist; choose from 0 to 4294967295"):
        LegacyDraws(seed)


def test_legacy_draws_replay_numpys_global_stream_in_order() -> None:
    draws, state = LegacyDraws(7), np.random.RandomState(7)
    grey = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)
    assert np.array_equal(0.1 + 0.3 * draws.normal((5, 3)), state.normal(0.1, 0.3, (5, 3)))
    assert draws.uniform(-135, -45, ()) == state.uniform(-135, -45)
    assert draws.integer(5) == state.randint(5)
    assert np.array_equal(draws.poisson(grey, 60), state.poisson(grey / 255.0 * 60))


def test_legacy_impulses_come_from_a_generator_of_their_own() -> None:
    generator = np.random.default_rng(7)
    flipped, salted = generator.random((9, 5)) <= 0.3, generator.random((9, 5)) <= 0.5
    draws = LegacyDraws(7)
    draws.normal((3,))
    found = draws.impulses((9, 5), 0.3)
    assert np.array_equal(found == 1, flipped & salted)
    assert np.array_equal(found == -1, flipped & ~salted)
