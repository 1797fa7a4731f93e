"""A converted checkpoint holds the same tensors, says where they came from, and loads."""

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors import safe_open

from spairc.cli import main
from spairc.types import BadInput
from spairc_models.checkpoint import read_checkpoint
from spairc_models.convert import convert
from spairc_models.networks import load_network


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file such as the authors' training loop leaves, with random weights."""
    path = tmp_path_factory.mktemp("weights") / "model_best.pth"
    state = {f"module.{key}": value for key, value in load_network("cats").state_dict().items()}
    torch.save({"epoch": 7, "state_dict": state, "best_loss": 49.9}, path)
    return path


def test_the_tensors_are_the_same_and_the_metadata_name_the_original(
    official: Path, tmp_path: Path
) -> None:
    out = tmp_path / "cats.safetensors"
    assert convert(str(official), out) == "cats"
    before, after = read_checkpoint(official), read_checkpoint(out)
    assert before.state.keys() == after.state.keys()
    assert all(torch.equal(before.state[key], after.state[key]) for key in before.state)
    with safe_open(out, "pt") as file:
        metadata = file.metadata()
    assert metadata["network"] == "cats"
    assert metadata["original"] == "model_best.pth"
    assert metadata["original_sha256"] == before.sha256


def test_the_command_says_which_network_it_is(official: Path, tmp_path: Path) -> None:
    out = tmp_path / "cats.safetensors"
    result = CliRunner().invoke(main, ["convert", str(official), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert f"wrote {out}: weights of cats" in result.output


def test_weights_of_something_else_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(BadInput, match="is of no network known here"):
        convert(str(tmp_path / "other.pth"), tmp_path / "out.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["other.pth"]


def test_another_suffix_is_refused(official: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"its name must end in \.safetensors"):
        convert(str(official), tmp_path / "cats.pth")
