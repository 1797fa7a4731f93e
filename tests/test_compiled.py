"""Encoding by torch.compile: an option, with the same answers but for last digits."""

from typing import Any

import numpy as np
import pytest

from spairc.types import BadInput, Query, Size
from spairc_models import load_model


def test_a_machine_without_a_compiler_is_told_of_before_any_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    options: dict[str, Any] = {"weights": "random", "device": "cpu", "compiled": True}
    with pytest.raises(BadInput, match="needs a C"):
        load_model("torchvision:mobilenet_v2", **options)


@pytest.mark.slow  # compiles
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, while it compiles
@pytest.mark.parametrize(("model", "far"), [("torchvision:mobilenet_v2", 0.05), ("cats", 1.0)])
def test_compiled_matchers_answer_as_plain_ones_and_their_record_says_so(
    model: str, far: float
) -> None:
    draws = np.random.default_rng(0)
    images = [draws.integers(0, 256, size).astype(np.uint8) for size in ((70, 90, 3), (80, 60, 3))]
    points = np.array([[10.5, 20], [71, 3.25]])
    found = []
    for compiled in (False, True):
        matcher = load_model(model, weights="random", device="cpu", compiled=compiled)
        source, target = matcher.encode(images)
        query = Query(source, target, points, Size(90, 70), Size(60, 80), "car")
        found += matcher.match([query])
        assert matcher.details.get("compiled") == ("true" if compiled else None)  # type: ignore[attr-defined]  # torch matchers have it
    assert np.abs(found[0] - found[1]).max() < far
