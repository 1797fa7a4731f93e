"""Validation in training is the evaluation of a finished network."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from matchme_train.networks import make_network, weights_of
from matchme_train.sections import Network
from matchme_train.validation import validation_pck
from spairc.datasets import load_dataset
from spairc.evaluate import predict
from spairc.metrics import PCK
from spairc.types import CLEAN
from spairc_models import load_model, load_network

TINY = Network(
    name="cats", side=64, cells=4, blocks=(1, 1, 1, 1), width=4, layers=(2, 3), weights="random"
)


@pytest.mark.slow
def test_a_networks_validation_is_what_spairc_eval_says_of_its_file(
    tiny_root: Path, tmp_path: Path
) -> None:
    network = load_network("cats", seed=4)
    save_file(weights_of(network), tmp_path / "model_best.safetensors")
    dataset = load_dataset("spair71k", tiny_root)
    matcher = load_model("cats", checkpoint=str(tmp_path), device="cpu")
    run = predict(matcher, dataset, [CLEAN], out=tmp_path / "run")
    wanted = run.scores(PCK("square"))[CLEAN]
    assert validation_pck(network, Network(name="cats"), dataset) == pytest.approx(wanted)


def test_validation_changes_no_weight_and_no_statistic(tiny_root: Path) -> None:
    network = make_network(TINY, 0).train()
    before = weights_of(network)
    score = validation_pck(network, TINY, load_dataset("spair71k", tiny_root))
    assert 0 <= score <= 100
    assert all(torch.equal(each, before[name]) for name, each in weights_of(network).items())
    assert not network.training


def test_a_network_that_answers_the_given_place_scores_as_the_points_stay(
    tiny_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = load_dataset("spair71k", tiny_root)
    network = make_network(TINY, 0)
    monkeypatch.setattr(network, "match_features", lambda *_: torch.zeros(1, 2, 4, 4))
    found = validation_pck(network, TINY, dataset)
    shares = []
    for pair in dataset:
        given = np.floor(pair.source_points * 64 / np.array(pair.source_size))
        truth = pair.target_points * 64 / np.array(pair.target_size)
        box = np.array(pair.target_box) * 64 / np.tile(pair.target_size, 2)
        limit = 0.1 * max(box[2] - box[0], box[3] - box[1])
        shares.append((np.linalg.norm(given - truth, axis=1) <= limit).mean())
    assert found == pytest.approx(100 * np.mean(shares))
    assert 0 < found < 100


def test_a_fresh_network_depends_on_its_seed_alone() -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one = weights_of(make_network(TINY, 5))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    same, other = (weights_of(make_network(TINY, seed)) for seed in (5, 6))
    assert all(torch.equal(each, same[name]) for name, each in one.items())
    trunk = "feature_extraction.backbone.conv1.weight"
    assert not torch.equal(one[trunk], other[trunk])
