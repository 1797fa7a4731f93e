"""A folder as CATs' authors release it: `model_best.pth` beside `args.pkl`, which is not read."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from spairc.types import BadInput
from spairc_models import load_model, load_network
from spairc_models.cats import PRESETS

slow = pytest.mark.slow


class Trap:
    """Shows by a file that it was unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.mkdir, (self.path,)  # type: ignore[return-value]  # a Path does for mkdir


def released(folder: Path, name: str) -> Path:
    """Write what the training program leaves behind."""
    state = load_network(name, seed=2).state_dict()
    content = {"epoch": 7, "state_dict": state, "optimizer": {}, "scheduler": {}, "best_loss": 49.9}
    torch.save(content, folder / "model_best.pth")
    (folder / "args.pkl").write_bytes(pickle.dumps(Trap(folder / "executed")))
    return folder


def network_of(matcher: Any) -> Any:
    return matcher.find.args[0]


@pytest.mark.parametrize(
    ("name", "preset"), [("cats-pfpascal", "pfpascal"), pytest.param("cats", "spair", marks=slow)]
)
def test_either_configuration_is_told_by_its_shapes(tmp_path: Path, name: str, preset: str) -> None:
    matcher = load_model("cats", checkpoint=str(released(tmp_path, name)), device="cpu")
    network = network_of(matcher)
    assert network.feature_extraction.layers == PRESETS[preset].hyperpixels
    expected = load_network(name, seed=2).state_dict()
    assert all(torch.equal(each, expected[key]) for key, each in network.state_dict().items())
    assert not (tmp_path / "executed").exists()


def test_what_shapes_do_not_tell_can_be_told(tmp_path: Path) -> None:
    folder = str(released(tmp_path, "cats-pfpascal"))
    options: dict[str, Any] = {"hyperpixels": "3,16,21,22,25,26,29", "heads": 8}
    network = network_of(load_model("cats", checkpoint=folder, device="cpu", **options))
    assert network.feature_extraction.layers == (3, 16, 21, 22, 25, 26, 29)
    assert network.decoder.blocks[0].attn.heads == 8


def test_layers_of_other_channels_than_the_checkpoints_do_not_load(tmp_path: Path) -> None:
    folder = str(released(tmp_path, "cats-pfpascal"))
    with pytest.raises(BadInput, match=r"proj\.0\.weight .* of another shape"):
        load_model("cats", checkpoint=folder, hyperpixels="0,17,21,22,25,26,28")
