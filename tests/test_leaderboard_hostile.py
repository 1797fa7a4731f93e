"""Whatever a stranger sends: the checker neither falls over nor lets a false number pass."""

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spairc.types import BadInput
from spairc_leaderboard import parquet_reader
from spairc_leaderboard.check import Report, check_entry
from spairc_leaderboard.entry import Entry
from spairc_leaderboard.predictions import digest_of, read_answers
from spairc_leaderboard.repository import Leaderboard, open_leaderboard, read_entry
from spairc_leaderboard.strict import build, parse_json

STORED = Path(__file__).with_name("leaderboard_entry_1.json")
GOOD = STORED.read_bytes()
TRIED = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

WORDS = (
    *("", "..", "../../etc/passwd", "/etc/passwd", "a\0b", "<img src=x onerror=alert(1)>", "%s%n"),
    *("\u202etxt", "\ud800", "e\u0301", "\U0001d54ahift", "{0.__class__}", "x" * 10_000, "0" * 64),
    *("none needed", "published", "clean", "fog@3", "paper", "original", "both", "__class__"),
    *("shift-e-b-0123456789ab", "https://example.org/b", "javascript:alert(1)"),
)
NASTY = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, -1, 1, 2**31, 2**53 + 1, 10**30, 1e308, 5e-324, 100.0, 33.333333]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(WORDS),
    st.text(max_size=20),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(item, (*path, key))


PLACES = list(places(json.loads(GOOD)))
WHAT = ("replace", "remove", "add", "swap", "digit")


def mutated(path: tuple[Any, ...], what: str, value: Any, other: tuple[Any, ...]) -> bytes:
    """The good entry with one place changed."""
    tree = json.loads(GOOD)
    parent, source = tree, tree
    for part in path[:-1]:
        parent = parent[part]
    for part in other:
        source = source[part]
    old = parent[path[-1]]
    if what == "replace":
        parent[path[-1]] = value
    elif what == "remove":
        del parent[path[-1]]
    elif what == "add":
        extended = {**parent, str(value): value} if isinstance(parent, dict) else [*parent, value]
        parent.clear()
        (parent.update if isinstance(parent, dict) else parent.extend)(extended)
    elif what == "swap":
        parent[path[-1]] = source
    elif isinstance(old, float):
        parent[path[-1]] = round(old + 1e-6, 6)
    return json.dumps(tree).encode("utf-8", "surrogatepass")


def read_or_told(read: Callable[[], Any]) -> Any:
    """What was read, or the one line that says why not."""
    try:
        return read()
    except BadInput as refusal:
        text = str(refusal)
    assert text.isprintable()
    return text


@pytest.fixture
def board(staged: Path) -> Leaderboard:
    return open_leaderboard(staged.parents[1], skip=staged.name)


def judge(folder: Path, board: Leaderboard) -> Report:
    """The report; what passes says nothing that the good entry does not say."""
    report = check_entry(folder, board)
    assert all("\n" not in each and each.isprintable() for each in report.problems)
    if report.passed:
        good = build(Entry, parse_json(GOOD, "good"), "good")
        found = report.entry
        assert found is not None
        assert found.benchmark == good.benchmark
        assert found.predictions == good.predictions
        assert found.content == good.content
        assert found.id == good.id
        assert found.scores
        assert set(map(repr, found.scores)) <= set(map(repr, good.scores))
    return report


def test_the_good_entry_passes_the_judge(staged: Path, board: Leaderboard) -> None:
    made = json.loads((staged / "entry.json").read_bytes())
    stored = json.loads(GOOD)
    date.fromisoformat(made.pop("date"))  # of today
    assert stored.pop("date") == "2026-11-20"
    assert made == stored
    assert judge(staged, board).passed


@TRIED
@given(st.sampled_from(PLACES), st.sampled_from(WHAT), NASTY, st.sampled_from(PLACES))
def test_an_entry_with_one_place_changed(
    staged: Path, board: Leaderboard, path: Any, what: str, value: Any, other: Any
) -> None:
    (staged / "entry.json").write_bytes(mutated(path, what, value, other))
    judge(staged, board)


def test_every_digit_of_every_number_counts(staged: Path, board: Leaderboard) -> None:
    tree = json.loads(GOOD)
    numbers = [path for path in PLACES if path[0] == "scores" and "value" in str(path)]
    for path in numbers[::7]:
        parent = tree
        for part in path[:-1]:
            parent = parent[part]
        if isinstance(parent[path[-1]], float):
            (staged / "entry.json").write_bytes(mutated(path, "digit", None, ("schema",)))
            assert not judge(staged, board).passed, path


@settings(parent=TRIED, max_examples=200)
@given(ANY_JSON)
def test_any_json_is_read_or_refused(value: Any) -> None:
    data = json.dumps(value).encode("utf-8", "surrogatepass")
    with pytest.raises(BadInput):
        build(Entry, parse_json(data, "entry.json"), "entry.json")


@settings(parent=TRIED, max_examples=200)
@given(st.binary(max_size=200), st.integers(0, len(GOOD)), st.integers(0, 50))
def test_any_bytes_are_read_or_refused(more: bytes, start: int, cut: int) -> None:
    data = GOOD[:start] + more + GOOD[start + cut :]
    found = read_or_told(lambda: build(Entry, parse_json(data, "entry.json"), "entry.json"))
    assert isinstance(found, Entry | str)


@settings(parent=TRIED, max_examples=80)
@given(st.data())
def test_damaged_parquet_gives_the_same_answers_or_none(
    staged: Path, board: Leaderboard, data: st.DataObject
) -> None:
    path = staged / "predictions" / "fog.parquet"
    good = (STORED.parent / "leaderboard_fog_1.parquet").read_bytes()
    footer = len(good) - int.from_bytes(good[-8:-4], "little") - 8
    changed = bytearray(good)
    place = st.integers(0, len(good) - 1) | st.integers(footer, len(good) - 1)
    for position in data.draw(st.lists(place, min_size=1, max_size=4)):
        changed[position] = data.draw(st.integers(0, 255))
    del changed[data.draw(st.just(len(good)) | st.integers(0, len(good))) :]
    path.write_bytes(changed)
    truth = board.truth(board.benchmarks[0])
    found = read_or_told(lambda: list(read_answers(path, truth)))
    if isinstance(found, str):
        return
    assert [places.shape for _, places in found] == [truth.target_points.shape] * 5
    same = {str(each): digest_of(places) for each, places in found}
    claimed = read_entry(staged / "entry.json").predictions
    if bytes(changed) != good:  # a flipped bit in a value that nothing protects
        (problem, *_) = judge(staged, board).problems
        assert problem.startswith("fog.parquet: the file was changed")
    else:
        assert all(claimed.cells[name] == digest for name, digest in same.items())


def test_a_file_that_ends_the_reader_is_damaged_and_the_next_one_is_read(
    staged: Path, board: Leaderboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = parquet_reader._reader()
    path, truth = staged / "predictions" / "fog.parquet", board.truth(board.benchmarks[0])
    assert len(list(read_answers(path, truth))) == 5
    exchange = parquet_reader._exchange

    def killed(process: Any, line: str) -> str:
        process.kill()
        process.wait()
        return exchange(process, line)

    monkeypatch.setattr(parquet_reader, "_exchange", killed)
    with pytest.raises(BadInput, match=r"fog.parquet: it is damaged \(the reader ended over it\)"):
        list(read_answers(path, truth))
    monkeypatch.undo()
    assert len(list(read_answers(path, truth))) == 5
    reader.close()
    assert len(list(read_answers(path, truth))) == 5


def test_a_small_file_that_unpacks_into_a_large_one_is_refused(
    staged: Path, board: Leaderboard
) -> None:
    path, truth = staged / "predictions" / "clean.parquet", board.truth(board.benchmarks[0])
    many = 5_000_000
    zeros = pa.table(
        {
            "severity": np.zeros(many, np.int8),
            "pair": np.zeros(many, np.int32),
            "point": np.zeros(many, np.int16),
            "x": np.zeros(many, np.float32),
            "y": np.zeros(many, np.float32),
        }
    )
    pq.write_table(zeros, path, compression="zstd", row_group_size=many, use_dictionary=True)
    assert path.stat().st_size < 200_000
    with pytest.raises(BadInput, match="row group 0 has 5000000 rows; write 183"):
        list(read_answers(path, truth))


@pytest.mark.parametrize(
    "columns",
    [
        {"pair": pa.array([0], pa.int64())},
        {"x": pa.array(["0"]), "evil": pa.array([b"x"])},
        {"pair": pa.array([[0]])},
    ],
)
def test_other_columns_are_refused(
    staged: Path, board: Leaderboard, columns: dict[str, pa.Array]
) -> None:
    path = staged / "predictions" / "clean.parquet"
    pq.write_table(pa.table(columns), path)
    with pytest.raises(BadInput, match="it has other columns than severity, pair, point, x, y"):
        list(read_answers(path, board.truth(board.benchmarks[0])))


def test_nothing_is_imported_from_the_folder_that_one_is_in(
    staged: Path, board: Leaderboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = staged.parent / "evil"
    evil.mkdir()
    for name in ("numpy", "json", "pyarrow", "spairc_leaderboard"):
        (evil / f"{name}.py").write_text("open('was_run', 'w')")
    monkeypatch.chdir(evil)
    parquet_reader._reader().close()
    judge(staged, board)
    assert not (evil / "was_run").exists()
    shutil.rmtree(evil)
