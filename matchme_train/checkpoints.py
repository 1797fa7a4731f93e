"""A training run's folder: what it is, where it stands, and what it found.

    recipe.json                    every field of the recipe, and how it is run
    data.json                      which pairs and pictures: hashes and counts
    checkpoints/00001200.safetensors   where the run stood after so many steps; the last two
    best/generation-2.safetensors  weights of each stage's best epoch by validation PCK
    model_best.safetensors         those of the last stage that is complete
    steps.csv, epochs.csv          losses of every step, validation of every epoch
    log.jsonl                      times; outside every claim of equality

A checkpoint is one file, written whole: weights, the optimisers' moments, the state of torch's
random numbers, and as metadata the position and the history so far. All else that is random is a
function of the seed and the position.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from matchme_train.networks import weights_of
from spairc.files import make_folder, write_text, written_whole
from spairc.types import BadInput

_KEPT = 2  # checkpoints
STEP_FIELDS = ("stage", "epoch", "step", "loss", "labelled", "pseudo", "pass_rate")
EPOCH_FIELDS = (
    "stage",
    "epoch",
    "loss",
    "labelled",
    "pseudo",
    "pass_rate",
    "validation_pck",
)


@dataclass
class Position:
    """Where a run stands; the one thing here that changes."""

    stage: int = 0
    epoch: int = 0
    step: int = 0  # within the epoch
    steps: int = 0  # in all
    sums: dict[str, float] = field(default_factory=dict)  # of this epoch's losses
    history: list[dict[str, Any]] = field(default_factory=list)  # one entry an epoch
    best: dict[str, dict[str, Any]] = field(default_factory=dict)  # by stage: pck, epoch


@dataclass(frozen=True)
class RunFolder:
    """The folder of a training run."""

    path: Path
    writes: bool = True  # of processes that train together, one does

    def best(self, stage: str) -> Path:
        """Return the file with a stage's best weights."""
        return self.path / "best" / f"{stage}.safetensors"

    @property
    def final(self) -> Path:
        """The file that the finished run is used by."""
        return self.path / "model_best.safetensors"

    @property
    def checkpoints(self) -> list[Path]:
        """The checkpoints, the earliest first."""
        return sorted((self.path / "checkpoints").glob("*.safetensors"))

    def write_weights(self, path: Path, network: nn.Module, told: Mapping[str, Any]) -> None:
        """Write a network's weights whole, with what is to be told of them.

        Raises:
            BadInput: If there is no space or no permission.
        """
        if self.writes:
            _write(path, weights_of(network), told)

    def write_checkpoint(
        self,
        position: Position,
        networks: Sequence[nn.Module],
        optimisers: Sequence[torch.optim.AdamW],
    ) -> None:
        """Write where the run stands; keep the last two such files.

        Raises:
            BadInput: If there is no space or no permission; earlier files are left as they are.
        """
        if not self.writes:
            return
        tensors = {"random/cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            tensors["random/cuda"] = torch.cuda.get_rng_state()
        for number, (network, adam) in enumerate(zip(networks, optimisers, strict=True)):
            tensors |= {f"{number}/{name}": each for name, each in weights_of(network).items()}
            for index, moments in adam.state_dict()["state"].items():
                for name, value in moments.items():
                    tensors[f"adam/{number}/{index}/{name}"] = value.cpu().contiguous()
        path = self.path / "checkpoints" / f"{position.steps:08}.safetensors"
        _write(path, tensors, asdict(position))
        for old in self.checkpoints[:-_KEPT]:
            old.unlink()

    def read_position(self) -> Position:
        """Return where the run stands; the beginning if it has no checkpoint.

        Raises:
            BadInput: If the last checkpoint is damaged.
        """
        if not self.checkpoints:
            return Position()
        path = self.checkpoints[-1]
        try:
            with safe_open(path, "pt") as file:
                return Position(**json.loads(file.metadata()["spairc"]))
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise BadInput(f"{path} is damaged ({error}); remove it to go on before it") from error

    def restore(
        self, networks: Sequence[nn.Module], optimisers: Sequence[torch.optim.AdamW]
    ) -> None:
        """Put networks, optimisers and random numbers back to where the last checkpoint was."""
        with safe_open(self.checkpoints[-1], "pt") as file:
            names = list(file.keys())
            for number, (network, adam) in enumerate(zip(networks, optimisers, strict=True)):
                network.load_state_dict(
                    {name: file.get_tensor(f"{number}/{name}") for name in network.state_dict()}
                )
                moments: dict[int, dict[str, Tensor]] = {}
                for name in names:
                    if name.startswith(f"adam/{number}/"):
                        index, kind = name.split("/")[2:]
                        moments.setdefault(int(index), {})[kind] = file.get_tensor(name)
                adam.load_state_dict({**adam.state_dict(), "state": moments})
            torch.set_rng_state(file.get_tensor("random/cpu"))
            if torch.cuda.is_available() and "random/cuda" in names:
                torch.cuda.set_rng_state(file.get_tensor("random/cuda"))

    def write_tables(self, position: Position) -> None:
        """Write the epochs' table, and cut the steps' table to the position's steps."""
        if not self.writes:
            return
        _write_table(self.path / "epochs.csv", EPOCH_FIELDS, position.history)
        path = self.path / "steps.csv"
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        kept = lines[: position.steps + 1] or [",".join(STEP_FIELDS)]
        write_text(path, "\n".join(kept) + "\n")

    def add_step(self, row: Mapping[str, Any]) -> None:
        """Add a line to the steps' table."""
        if not self.writes:
            return
        with (self.path / "steps.csv").open("a", encoding="utf-8", newline="") as file:
            csv.DictWriter(file, STEP_FIELDS, lineterminator="\n").writerow(row)

    def log(self, **told: Any) -> None:
        """Add a line to the log."""
        if not self.writes:
            return
        with (self.path / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(told, ensure_ascii=False) + "\n")


def open_folder(path: Path, records: Mapping[str, Mapping[str, Any]]) -> RunFolder:
    """Return a run's folder: a new one, or the same run's to go on with.

    Args:
        path: The folder.
        records: File name -> what the run is; written to a new folder, compared in an old one.

    Raises:
        BadInput: If the folder holds something else, or a run that differs: the field is named.
    """
    if (path / "recipe.json").is_file():
        for name, record in records.items():
            old = json.loads((path / name).read_text(encoding="utf-8"))
            difference = _difference(old, json.loads(json.dumps(record)))
            if difference:
                raise BadInput(f"{path} holds another run: {difference}; choose another --out")
        return RunFolder(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise BadInput(f"{path} exists and holds no training run; choose another --out")
    make_folder(path)
    for name, record in reversed(list(records.items())):  # the one that is looked for comes last
        write_text(path / name, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    return RunFolder(path)


def _difference(old: Any, new: Any, where: str = "") -> str:
    """Return the first field in which two records differ; nothing if they agree."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(each for each in new if each not in old)]:
            found = _difference(old.get(name), new.get(name), f"{where}.{name}".lstrip("."))
            if found:
                return found
        return ""
    return "" if old == new else f"{where} was {old!r} and is now {new!r}"


def _write(path: Path, tensors: Mapping[str, Tensor], told: Mapping[str, Any]) -> None:
    """Write a safetensors file whole, the same bytes for the same content."""
    # One entry: safetensors writes several in an order that changes from process to process.
    content = save(dict(tensors), {"spairc": json.dumps(dict(told))})
    with written_whole(path) as temporary:
        temporary.write_bytes(content)


def _write_table(path: Path, names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a CSV table whole."""
    with written_whole(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
