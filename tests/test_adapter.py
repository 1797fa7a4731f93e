"""What every torch matcher shares: batches, frames, devices and the record."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from spairc.types import BadInput, Points, Query, Size
from spairc_models.adapter import (
    Execution,
    TorchMatcher,
    batches,
    choose_device,
    details_of,
    execution,
)
from spairc_models.preprocessing import Preprocessing


def test_a_network_sees_batches_in_the_order_of_the_pictures() -> None:
    seen: list[int] = []

    def features(inputs: torch.Tensor) -> list[float]:
        assert torch.is_inference_mode_enabled()
        seen.append(len(inputs))
        return [float(each.mean()) for each in inputs]

    how = Execution(torch.device("cpu"), batch_size=2)
    spy = TorchMatcher("spy", Preprocessing(8), how, features, lambda _: [], {})
    means = spy.encode([np.full((4, 6, 3), value, np.uint8) for value in (0, 50, 100, 150, 200)])
    assert sorted(seen) == [1, 2, 2]
    assert means == sorted(means)


def test_an_error_in_a_network_is_shown_and_leaves_the_threads_as_they_were() -> None:
    def features(_: torch.Tensor) -> list[float]:
        raise ZeroDivisionError

    before = torch.get_num_threads()
    how = Execution(torch.device("cpu"))
    spy = TorchMatcher("spy", Preprocessing(8), how, features, lambda _: [], {})
    with pytest.raises(ZeroDivisionError):
        spy.encode([np.zeros((4, 6, 3), np.uint8)] * 3)
    assert torch.get_num_threads() == before


def test_a_matcher_is_asked_and_answers_in_the_frame_of_its_input() -> None:
    asked: list[list[float]] = []

    def find(queries: Sequence[Query]) -> list[Points]:
        asked.extend(query.points.tolist()[0] for query in queries)
        return [np.array([[2.0, 4.0]], dtype=np.float32) for _ in queries]

    how = Execution(torch.device("cpu"))
    spy = TorchMatcher("spy", Preprocessing(8), how, lambda _: [], find, {})
    query = Query(None, None, np.array([[10.0, 3.0]]), Size(20, 4), Size(16, 32), "car")
    assert spy.match([query])[0].tolist() == [[4, 16]]
    assert asked == [[4, 6]]


def test_batches_keep_the_order_and_the_last_is_shorter() -> None:
    assert [list(batch) for batch in batches([1, 2, 3, 4, 5], 2)] == [[1, 2], [3, 4], [5]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "gpu"}, "device 'gpu': choose from cpu, cuda"),
        ({"device": "cuda:x"}, "device 'cuda:x': choose from"),
        ({"device": "cuda:99"}, "device 'cuda:99': this machine has"),
        ({"precision": "float16"}, "no precision is called 'float16'; did you mean"),
        ({"batch_size": 0}, "batch size 0"),
    ],
)
def test_an_impossible_execution_is_explained(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        execution(**options)


def test_without_a_choice_the_device_is_there() -> None:
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert choose_device(None).type == expected


def test_the_record_names_device_precision_input_and_weights() -> None:
    details = details_of(execution("cpu", "bfloat16", 4), Preprocessing(320, "pad"), "abc")
    expected = {
        "device": "cpu",
        "precision": "bfloat16",
        "batch_size": 4,
        "side": 320,
        "resize": "pad",
        "interpolation": "bilinear",
        "weights": "abc",
    }
    assert details == {**expected, "torch": torch.__version__}
