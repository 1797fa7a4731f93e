"""A run's cost is counted exactly where it can be, and predicted from what was measured."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spairc.cost import Allowance, Cost, affordable_share, duration, predict_cost
from spairc.datasets import load_dataset
from spairc.datasets.dataset import Dataset
from spairc.evaluate import plan, predict
from spairc.spec import CONDITIONS
from spairc.subset import SHARES
from spairc.types import CLEAN, Condition, Image, Points, Query

FOG = Condition("fog", 3)


class Slow:
    """A matcher that takes 20 ms a picture and 5 ms a pair, 4,000 bytes of features each."""

    name = "slow"

    def encode(self, images: Sequence[Image]) -> list[tuple[np.ndarray, ...]]:
        """Take a while."""
        time.sleep(0.02 * len(images))
        return [(np.zeros(500), np.zeros((0, 3))) for _ in images]

    def match(self, queries: Sequence[Query]) -> list[Points]:
        """Take a while."""
        time.sleep(0.005 * len(queries))
        return [query.points for query in queries]


@pytest.fixture
def dataset(tiny_root: Path) -> Dataset:
    """Eight pairs over five pictures in two categories."""
    return load_dataset("spair71k", tiny_root)


def test_units_pictures_and_pairs_are_counted(dataset: Dataset) -> None:
    cost = predict_cost(plan(Slow(), dataset, [CLEAN, FOG]))
    assert (cost.units, cost.pictures, cost.pairs) == (4, 10, 16)


def test_a_picture_in_both_roles_is_encoded_twice_where_one_side_is_corrupted(
    dataset: Dataset,
) -> None:
    assert predict_cost(plan(Slow(), dataset, [FOG], side="source")).pictures == 10


def test_the_features_of_the_largest_category_are_predicted(dataset: Dataset) -> None:
    assert predict_cost(plan(Slow(), dataset, [CLEAN])).features == 3 * 500 * 8


def test_the_time_is_that_of_pictures_and_pairs(dataset: Dataset) -> None:
    cost = predict_cost(plan(Slow(), dataset, CONDITIONS))
    assert cost.seconds > 76 * (5 * 0.02 + 8 * 0.005)


def test_a_shard_costs_its_part(dataset: Dataset) -> None:
    cost = predict_cost(plan(Slow(), dataset, [CLEAN, FOG]), allowance=Allowance(shards=2))
    assert (cost.units, cost.pictures, cost.pairs) == (2, 5, 8)


def test_gpus_work_while_pictures_are_read(dataset: Dataset) -> None:
    planned = plan(Slow(), dataset, CONDITIONS)
    alone, shared = (
        predict_cost(planned, allowance=Allowance(workers=4, devices=n)).seconds for n in (1, 4)
    )
    assert alone > 76 * (5 * 0.02 + 8 * 0.005)
    assert shared < alone / 2


def test_what_is_complete_costs_nothing(dataset: Dataset, tmp_path: Path) -> None:
    run = predict(Slow(), dataset, [CLEAN], out=tmp_path / "run")
    both = plan(Slow(), dataset, [CLEAN, FOG])
    assert predict_cost(both, run).pairs == 8
    assert predict_cost(plan(Slow(), dataset, [CLEAN]), run).seconds == 0


@pytest.mark.parametrize(("seconds", "share"), [(100, 1), (99, 0.5), (50, 0.5), (13, 0.125)])
def test_a_budget_buys_the_largest_share_that_fits(seconds: float, share: float) -> None:
    cost = Cost(units=4, pictures=10, pairs=16, seconds=100, features=0)
    assert affordable_share(cost, seconds) == share


def test_no_budget_is_too_small_for_the_smallest_share() -> None:
    cost = Cost(units=4, pictures=10, pairs=16, seconds=100, features=0)
    assert affordable_share(replace(cost, seconds=1e9), 1) == SHARES[-1]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (89, "89 s"), (100, "2 min"), (5000, "83 min"), (7320, "2 h 2 min")],
)
def test_a_duration_is_told_as_people_say_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_cost_is_one_line() -> None:
    cost = Cost(units=1368, pictures=36480, pairs=929784, seconds=7320, features=123_400_000)
    assert str(cost) == (
        "1,368 units, 36,480 pictures, 929,784 pairs: about 2 h 2 min, 123 MB of features"
    )
