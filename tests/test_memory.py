"""Where memory is short, fewer features are held and batches halved; the answers stay the same."""

import gc
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from spairc.blocks import GROUP, Halving, blocks_of
from spairc.cli import main
from spairc.cost import Allowance, predict_cost
from spairc.datasets import load_dataset
from spairc.datasets.dataset import Dataset
from spairc.evaluate import Plan, begin, execute, plan
from spairc.journal import read_journal
from spairc.pairs import table_of
from spairc.runs import Run
from spairc.types import CLEAN, BadInput, Box, Condition, Image, Pair, Points, Query, Size
from spairc.units import Answerer, Means, Unit
from spairc_models import load_model
from spairc_models.adapter import TorchMatcher, execution, memory_errors
from spairc_models.preprocessing import Preprocessing

FOG = Condition("fog", 3)


class Held:
    """One picture's features, which can be watched."""

    def __init__(self, mean: float) -> None:
        self.mean = mean
        self.nbytes = 1000


@dataclass
class Watched:
    """A matcher that counts how many of its features exist at once, and what it encodes."""

    name: str = "watched"
    most_pictures: int = 99  # more at a time than that, and memory runs out
    most_pairs: int = 9999
    most_held: int = 9999
    live: "weakref.WeakSet[Held]" = field(default_factory=weakref.WeakSet)
    peak: int = 0
    encoded: list[float] = field(default_factory=list)
    pairs: int = 0

    def encode(self, images: Sequence[Image]) -> list[Held]:
        """Return each picture's mean."""
        if len(images) > self.most_pictures or len(self.live) + len(images) > self.most_held:
            raise MemoryError
        made = [Held(float(image.mean())) for image in images]
        self.encoded += [each.mean for each in made]
        self.live.update(made)
        self.peak = max(self.peak, len(self.live))
        return made

    def match(self, queries: Sequence[Query]) -> list[Points]:
        """Move every point by what the two pictures differ."""
        if len(queries) > self.most_pairs:
            raise MemoryError
        self.pairs += len(queries)
        return [query.points + query.source.mean - query.target.mean / 2 for query in queries]


@dataclass(frozen=True)
class Plain:
    """Pictures of one colour each."""

    origin = {"spec": "none", "format": "lossless"}  # noqa: RUF012 -- never changed

    def read(self, key: str, condition: Condition) -> Image:
        """Return 33 x 40 pixels of a grey that the key tells."""
        grey = int(key.rpartition("/")[2]) + condition.severity
        return np.full((33, 40, 3), grey, dtype=np.uint8)


def unit_of(pictures: int, *, condition: Condition = CLEAN) -> Unit:
    """All ordered pairs of some pictures."""
    size, box = Size(40, 33), Box(3, 4, 30, 29)
    points = np.array([[8.0, 9.0]])
    pairs = [
        Pair(
            f"{i}-{j}", "car", f"car/{i}", f"car/{j}", points + i, points + j, box, box, size, size
        )
        for i in range(pictures)
        for j in range(pictures)
        if i != j
    ]
    return Unit(condition, 0, "car", table_of(pairs))


def answered(matcher: Watched, unit: Unit, room: int | None = None) -> Points:
    gc.collect()
    return Answerer(matcher, Plain(), "both", Means(room))(unit).found


@pytest.mark.parametrize(("pictures", "room"), [(27, 26), (27, 17), (27, 16), (27, 9), (5, 2)])
def test_no_more_features_are_held_than_there_is_room_for_and_answers_are_the_same(
    pictures: int, room: int
) -> None:
    free, bound = Watched(), Watched()
    unit = unit_of(pictures)
    np.testing.assert_array_equal(answered(bound, unit, room), answered(free, unit))
    assert free.peak == pictures
    assert bound.peak <= room
    assert bound.pairs == free.pairs == len(unit.pairs)


@pytest.mark.parametrize(
    ("pictures", "room", "encodings"),
    # By hand, in groups of 8: 27 pictures are groups 0 to 3 of 8, 8, 8 and 3.
    [
        (27, 27, 27),
        (27, 24, 16 + 3 + 8 + 3),  # 0 and 1 stay, 3 and 2 pass; 2 stays on, with 3
        (27, 16, 8 + 3 + 8 + 8 + 3 + 8 + 3),  # 0 stays, 3 2 1 pass; 1 stays, 3 2 pass; 2 and 3
        (4, 2, 1 + 3 + 2 + 1),  # one by one: each two meet once
    ],
)
def test_pictures_are_encoded_as_rarely_as_it_goes(
    pictures: int, room: int, encodings: int
) -> None:
    matcher = Watched()
    answered(matcher, unit_of(pictures), room)
    assert len(matcher.encoded) == encodings


@given(
    pictures=st.integers(2, 40),
    room=st.integers(2, 45),
    seed=st.integers(0, 99),
    number=st.integers(1, 60),
)
def test_every_pair_is_matched_once_while_its_pictures_are_held(
    pictures: int, room: int, seed: int, number: int
) -> None:
    draws = np.random.default_rng(seed)
    sources, targets = draws.integers(0, pictures, (2, number))
    blocks = blocks_of(sources, targets, room)
    matched: list[int] = []
    for step in blocks.steps:
        held = {i for group in step.groups for i in blocks.group(group)}
        assert len(held) <= max(room, 2)
        assert all(sources[p] in held and targets[p] in held for p in step.pairs)
        matched += step.pairs.tolist()
    assert sorted(matched) == list(range(number))


def test_groups_are_those_of_a_unit_with_room_for_all_unless_two_of_them_do_not_fit() -> None:
    ends = np.arange(40), np.arange(40)[::-1]
    assert [blocks_of(*ends, room).size for room in (None, 40, 39, 16)] == [GROUP] * 4
    assert [blocks_of(*ends, room).size for room in (15, 5, 2)] == [7, 2, 1]


@pytest.mark.parametrize("most", [1, 3, 7])
def test_out_of_memory_takes_half_as_many_pictures_and_goes_on(most: int) -> None:
    matcher, free, unit = Watched(most_pictures=most), Watched(), unit_of(11)
    np.testing.assert_array_equal(answered(matcher, unit), answered(free, unit))
    assert sorted(matcher.encoded) == sorted(free.encoded)


def test_out_of_memory_takes_half_as_many_pairs_and_goes_on() -> None:
    matcher, unit = Watched(most_pairs=13), unit_of(8)
    np.testing.assert_array_equal(answered(matcher, unit), answered(Watched(), unit))
    assert matcher.pairs == len(unit.pairs) == 56


def test_where_one_picture_is_too_much_fewer_features_are_held() -> None:
    matcher, unit = Watched(most_held=5), unit_of(9)
    done = Answerer(matcher, Plain(), "both")(unit)
    np.testing.assert_array_equal(done.found, answered(Watched(), unit))
    assert matcher.peak <= 5
    assert done.encoded > 9
    assert done.changed["pictures"] < GROUP


def test_two_pictures_that_are_too_much_are_a_clear_error() -> None:
    with pytest.raises(BadInput, match="car, fog@3: two pictures are too much for the memory"):
        answered(Watched(most_held=1), unit_of(9, condition=FOG))


def test_halving_remembers_what_fits() -> None:
    tried: list[int] = []

    def double(items: Sequence[int]) -> list[int]:
        tried.append(len(items))
        if len(items) > 3:
            raise MemoryError
        return [2 * item for item in items]

    found = [each for _, part in Halving().batches(double, range(10)) for each in part]
    assert found == [2 * n for n in range(10)]
    assert tried == [10, 5, 2, 2, 2, 2, 2]


@pytest.fixture
def dataset(tiny_root: Path) -> Dataset:
    """Eight pairs over five pictures in two categories."""
    return load_dataset("spair71k", tiny_root)


def run_of(matcher: Watched, dataset: Dataset, out: Path, room: int | None = None) -> Run:
    planned = plan(matcher, dataset, [CLEAN, FOG])
    run = begin(planned, out)
    execute(planned, run, room=room)
    return run


def contents(folder: Path) -> dict[str, bytes]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths if p.name != "log.jsonl"}


def test_a_run_with_little_room_has_the_files_of_one_with_much(
    dataset: Dataset, tmp_path: Path
) -> None:
    run_of(Watched(), dataset, tmp_path / "free")
    run_of(Watched(), dataset, tmp_path / "bound", room=2)
    assert contents(tmp_path / "bound") == contents(tmp_path / "free")


def test_the_log_tells_that_batches_changed_and_the_run_says_so(
    dataset: Dataset, tmp_path: Path
) -> None:
    short = read_journal(run_of(Watched(most_pictures=2), dataset, tmp_path / "short").folder)
    assert short.changed == 2  # the category of three pictures, under two conditions
    assert str(short.note).startswith("memory was short in 2 of 4 units: their batches were made")
    assert read_journal(run_of(Watched(), dataset, tmp_path / "free").folder).note is None


def test_the_report_says_that_batches_changed(dataset: Dataset, tmp_path: Path) -> None:
    run = run_of(Watched(most_pairs=3), dataset, tmp_path / "short")
    result = CliRunner().invoke(main, ["report", str(run.folder), "--resamples", "0"])
    assert result.exit_code == 0, result.output
    assert f"{run.folder}: memory was short in 2 of 4 units" in result.output


def fail(_: object) -> NoReturn:
    """Ask a CPU for more than there is."""
    torch.empty(1 << 50)
    raise AssertionError


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        None,
    ],
)
def test_a_torch_matcher_that_runs_out_of_memory_says_so(error: RuntimeError | None) -> None:
    def features(inputs: torch.Tensor) -> list[torch.Tensor]:
        if error is None:
            fail(inputs)
        raise error

    matcher = TorchMatcher("short", Preprocessing(32), execution("cpu"), features, fail, {})
    image = np.zeros((40, 33, 3), dtype=np.uint8)
    with pytest.raises(MemoryError):
        matcher.encode([image, image])
    with pytest.raises(MemoryError):
        matcher.match([])


def test_another_error_of_torch_stays_what_it_is() -> None:
    with pytest.raises(RuntimeError, match="shape"), memory_errors():
        raise RuntimeError("shape '[3]' is invalid")


def test_blocks_are_predicted_and_told_before_the_run(dataset: Dataset) -> None:
    cost = predict_cost(plan(Watched(), dataset, [CLEAN, FOG]), allowance=Allowance(memory=2000))
    assert (cost.room, cost.features) == (2, 2000)
    assert cost.pictures == 2 * (4 + 2)  # of three pictures one is encoded again
    assert "0 MB of features at once (--memory), so a picture is encoded 1.2 times" in str(cost)


def test_workers_share_the_memory_of_their_device(dataset: Dataset) -> None:
    planned = plan(Watched(), dataset, [CLEAN])
    assert predict_cost(planned, allowance=Allowance(4000, workers=2)).room == 2
    assert predict_cost(planned, allowance=Allowance(4000, workers=2, devices=2)).room is None
    with pytest.raises(BadInput, match="--memory 0MB is too little: a picture's features take"):
        predict_cost(planned, allowance=Allowance(4000, workers=3))


def test_features_that_tell_no_size_are_not_bound(dataset: Dataset) -> None:
    class Silent(Watched):
        """Its features are numbers."""

        def encode(self, images: Sequence[Image]) -> list[Held]:
            """Return what has no size."""
            found = super().encode(images)
            for each in found:
                del each.nbytes
            return found

    cost = predict_cost(plan(Silent(), dataset, [CLEAN]), allowance=Allowance(memory=1))
    assert (cost.room, cost.features) == (None, 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [("much", "memory 'much': write 500MB"), ("0GB", "memory '0GB'"), ("4", "memory '4'")],
)
def test_an_amount_of_memory_that_is_none_is_refused(
    tiny_root: Path, text: str, message: str
) -> None:
    result = CliRunner().invoke(
        main, ["eval", "--model", "hog", "--root", str(tiny_root), "--memory", text]
    )
    assert result.exit_code == 2
    assert message in result.stderr


def test_eval_with_little_memory_says_so_and_scores_the_same(
    tiny_root: Path, tmp_path: Path
) -> None:
    command = ["eval", "--model", "hog", "--root", str(tiny_root), "--on", "clean", "--out"]
    free = CliRunner().invoke(main, [*command, str(tmp_path / "free")])
    size = predict_cost(plan_of("hog", tiny_root)).features / 3
    amount = f"{2.5 * size / 1e3:f}KB"
    bound = CliRunner().invoke(main, [*command, str(tmp_path / "bound"), "--memory", amount])
    assert bound.exit_code == free.exit_code == 0, bound.output
    assert "at once (--memory), so a picture is encoded 1.2 times" in bound.stderr
    assert contents(tmp_path / "bound") == contents(tmp_path / "free")


def plan_of(name: str, root: Path) -> Plan:
    return plan(load_model(name), load_dataset("spair71k", root), [CLEAN])
