"""Weights are found, read without executing anything, and loaded strictly."""

import argparse
import hashlib
import os
import pickle
import subprocess
import sys
import tarfile
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from spairc.types import BadInput
from spairc_models.checkpoint import (
    Checkpoint,
    find_checkpoint,
    load_strictly,
    read_checkpoint,
    state_hash,
)

STATE = {"head.weight": torch.arange(6.0).reshape(2, 3), "head.bias": torch.tensor([0.5, -1.0])}


class Small(nn.Module):
    """Two tensors, and a normalisation with its counter."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 2)
        self.norm = nn.BatchNorm1d(2)


class Trap:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self.command,)


def saved(path: Path, content: object, *, zipped: bool = True) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


def given(state: dict[str, torch.Tensor]) -> Checkpoint:
    return Checkpoint(state, "0" * 64, "best.pth")


def assert_is_state(found: Checkpoint) -> None:
    assert found.state.keys() == STATE.keys()
    for key, tensor in STATE.items():
        assert torch.equal(found.state[key], tensor)


WRAPPERS = {
    "bare": STATE,
    "ordered": OrderedDict(STATE),
    "state_dict": {"epoch": 3, "state_dict": STATE, "best_loss": 0.25},
    "model": {"model": STATE, "optimizer": {"lr": 1e-3}},
    "module.": {f"module.{key}": tensor for key, tensor in STATE.items()},
    "both": {"state_dict": {f"module.{key}": tensor for key, tensor in STATE.items()}},
    # As the CATs family saves it: a scheduler's milestones and a score that numpy computed.
    "loop": {
        "state_dict": STATE,
        "scheduler": {"milestones": Counter([70, 80, 90])},
        "best_loss": np.float64(49.9),
    },
}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("content", WRAPPERS.values(), ids=WRAPPERS)
def test_tensors_are_found_in_what_training_loops_save(
    tmp_path: Path, content: object, zipped: bool
) -> None:
    assert_is_state(read_checkpoint(saved(tmp_path / "a.pth", content, zipped=zipped)))


def test_safetensors_load_too(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "a.safetensors")
    assert_is_state(read_checkpoint(tmp_path / "a.safetensors"))


def test_the_hash_is_that_of_the_file(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pt", STATE)
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    assert read_checkpoint(path).sha256 == expected


def test_a_prefix_that_only_some_names_have_is_kept(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", {"module.a": torch.ones(1), "b": torch.ones(2)})
    assert list(read_checkpoint(path).state) == ["module.a", "b"]


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_file_that_would_run_a_command_is_refused_and_runs_nothing(
    tmp_path: Path, zipped: bool
) -> None:
    proof = tmp_path / "executed"
    content = {"state_dict": STATE, "extra": Trap(f"touch {proof}")}
    path = saved(tmp_path / "trap.pth", content, zipped=zipped)
    with pytest.raises(BadInput, match=r"trap\.pth holds more than tensors.*system") as refusal:
        read_checkpoint(path)
    assert "\n" not in str(refusal.value)
    assert not proof.exists()
    torch.load(path, weights_only=False)  # the trap does work
    assert proof.exists()


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_plain_pickle_is_refused(tmp_path: Path, protocol: int) -> None:
    proof = tmp_path / "executed"
    path = tmp_path / "plain.pth"
    path.write_bytes(pickle.dumps(Trap(f"touch {proof}"), protocol))
    with pytest.raises(BadInput, match="could execute code on loading"):
        read_checkpoint(path)
    assert not proof.exists()


def test_the_settings_of_a_run_are_not_unpickled(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", {"state_dict": STATE, "args": argparse.Namespace(depth=1)})
    with pytest.raises(BadInput, match="Namespace"):
        read_checkpoint(path)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9, 0.99])
def test_a_file_cut_short_is_named(tmp_path: Path, share: float, zipped: bool) -> None:
    path = saved(tmp_path / "cut.pth", STATE, zipped=zipped)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(BadInput, match=r"checkpoint .*cut\.pth"):
        read_checkpoint(path)


def test_safetensors_cut_short_are_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    save_file(STATE, path)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(BadInput, match=r"cut\.safetensors is damaged .*fetch it again"):
        read_checkpoint(path)


def test_a_web_page_saved_as_a_checkpoint_is_told_from_one(tmp_path: Path) -> None:
    path = tmp_path / "page.pth"
    path.write_text("<!DOCTYPE html><title>Quota exceeded</title>")
    with pytest.raises(BadInput, match="no checkpoint at all; fetch it again"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.ones(2)], "holds no tensors by name"),
        ({}, "holds no tensors by name"),
        ({"weight": torch.ones(2), "epoch": 3}, r"\(epoch are no tensors\)"),
    ],
)
def test_what_is_no_state_dict_is_refused(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        read_checkpoint(saved(tmp_path / "a.pth", content))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"none\.pth does not exist; give a file"):
        read_checkpoint(tmp_path / "none.pth")


def test_a_file_of_another_kind_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "args.pkl").write_bytes(b"")
    with pytest.raises(BadInput, match=r"should end in \.safetensors, \.pth, \.pt"):
        read_checkpoint(tmp_path / "args.pkl")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_of_torch_may_be_called_a_tar(tmp_path: Path, *, zipped: bool) -> None:
    path = saved(tmp_path / "model_best.pth.tar", {"state_dict": STATE}, zipped=zipped)
    assert_is_state(read_checkpoint(path))
    saved(tmp_path / "last.pth.tar", {"state_dict": {}})
    assert find_checkpoint(tmp_path) == path


def test_a_true_tar_is_refused_by_its_content_or_its_name(tmp_path: Path) -> None:
    for name, message in (("a.pth.tar", "no checkpoint at all"), ("a.tar", "should end in")):
        with tarfile.open(tmp_path / name, "w") as tar:
            tar.add(__file__, "inside.pth")
        with pytest.raises(BadInput, match=message):
            read_checkpoint(tmp_path / name)


def test_a_folder_stands_for_its_best_checkpoint(tmp_path: Path) -> None:
    for name in ("epoch_1.pth", "model_best.pth", "args.pkl"):
        (tmp_path / name).touch()
    assert find_checkpoint(tmp_path) == tmp_path / "model_best.pth"


def test_a_folder_with_one_checkpoint_stands_for_it(tmp_path: Path) -> None:
    for name in ("only.safetensors", "README.md"):
        (tmp_path / name).touch()
    assert find_checkpoint(tmp_path).name == "only.safetensors"


@pytest.mark.parametrize(
    ("names", "message"), [(["a.pth", "b.pth"], "a.pth, b.pth; name one"), ([], "in this folder")]
)
def test_a_folder_that_leaves_the_choice_open_is_refused(
    tmp_path: Path, names: list[str], message: str
) -> None:
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(BadInput, match=message):
        find_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("address", "asked"),
    [
        ("hf://org/repo/a.safetensors", ("org/repo", "a.safetensors", None)),
        ("hf://org/repo/run/best.pth@v2", ("org/repo", "run/best.pth", "v2")),
    ],
)
def test_a_hub_address_names_repository_file_and_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, asked: tuple[str, str, str]
) -> None:
    calls = []

    def fetch(repository: str, file: str, *, revision: str | None) -> str:
        calls.append((repository, file, revision))
        return str(tmp_path / "fetched.safetensors")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fetch)
    assert find_checkpoint(address) == tmp_path / "fetched.safetensors"
    assert calls == [asked]


@pytest.mark.parametrize("address", ["hf://org/a.pth", "hf://org/repo/run.py", "hf://a/b/c.pth@"])
def test_a_hub_address_of_another_form_is_refused(address: str) -> None:
    with pytest.raises(BadInput, match=r"write hf://org/repo/file\.safetensors@revision"):
        find_checkpoint(address)


def test_without_a_network_the_hub_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BadInput, match=r"cannot be fetched .*local file") as refusal:
        find_checkpoint("hf://no-such-org/no-such-repo/a.pth")
    assert "\n" not in str(refusal.value)


def test_equal_names_and_shapes_load() -> None:
    network = Small()
    state = {key: torch.full_like(value, 2) for key, value in network.state_dict().items()}
    load_strictly(network, given(state), "small")
    assert all(torch.equal(tensor, state[key]) for key, tensor in network.state_dict().items())


def test_counters_that_old_files_lack_are_not_missed() -> None:
    state = {k: v for k, v in Small().state_dict().items() if not k.endswith("tracked")}
    network = Small()
    load_strictly(network, given(state), "small")
    assert torch.equal(network.head.weight, state["head.weight"])


def test_what_is_missing_and_too_much_is_named_and_counted() -> None:
    state = {f"old.{i}": torch.ones(1) for i in range(5)}
    expected = (
        r"best\.pth does not fit small: head\.weight, head\.bias, norm\.weight and 3 more missing; "
        r"old\.0, old\.1, old\.2 and 2 more too much$"
    )
    with pytest.raises(BadInput, match=expected):
        load_strictly(Small(), given(state), "small")


def test_a_tensor_of_another_shape_is_named_and_nothing_is_loaded() -> None:
    network = Small()
    before = state_hash(network)
    state = {**network.state_dict(), "head.bias": torch.ones(4), "head.weight": torch.ones(2, 3)}
    with pytest.raises(BadInput, match=r"head\.bias \(4,\), not \(2,\) of another shape"):
        load_strictly(network, given(state), "small")
    assert state_hash(network) == before


def test_the_hash_of_a_network_tells_its_values_and_its_names() -> None:
    network = Small()
    before = state_hash(network)
    assert state_hash(network) == before
    with torch.no_grad():
        network.head.bias[1] += 1e-3
    assert state_hash(network) != before


def test_loading_does_not_need_the_hub() -> None:
    code = "import sys, spairc_models.checkpoint; sys.exit('huggingface_hub' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
