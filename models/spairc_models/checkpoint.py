"""Find weights, read them without ever unpickling, and load them strictly.

A checkpoint is a local file (`.safetensors`, `.pth`, `.pt`, `.pth.tar`), a folder that holds one,
or `hf://org/repo/file@revision` on the Hugging Face Hub. Its tensors may stand bare or under
"state_dict" or "model", with or without the `module.` that DataParallel prefixes.
"""

import hashlib
import pickle  # its exception only: weights_only=True raises it where code would have run
import re
import struct
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from spairc.types import BadInput

# The last one is what PyTorch's examples call a file of torch.save; VAT and NC-Net do so too.
SUFFIXES = (".safetensors", ".pth", ".pt", ".pth.tar")
_WRAPPERS = ("state_dict", "model", "aggregation_network")
_HUB = re.compile(r"hf://(?P<repo>[^/@]+/[^/@]+)/(?P<file>[^@]+)(@(?P<revision>[^@]+))?")
_PARALLEL = "module."  # what DataParallel prefixes
_MAGIC = (b"PK\x03\x04", b"\x80")  # of a zip archive (torch >= 1.6) and of a pickle (before)
_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")  # what torch's refusal names
_STUMBLES = (  # what torch's reader raises over damaged bytes
    *(RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError),
    *(AssertionError, OverflowError, OSError, struct.error),
)
_FIRST = 3  # names that a message spells out; the rest is a count


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The tensors of one file and where they came from."""

    state: Mapping[str, torch.Tensor]  # bare names, on the CPU
    sha256: str  # of the file, for the run's record
    origin: str  # as the user named it, for messages


def read_checkpoint(where: str | Path) -> Checkpoint:
    """Return the tensors of a file, folder or Hub address.

    Raises:
        BadInput: If there is no such file, it is damaged, holds no tensors, or would execute code
            on loading.
    """
    path = find_checkpoint(where)
    if path.suffix == ".safetensors":
        content: object = _read_safetensors(path)
    else:
        content = _read_torch(path)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Checkpoint(_state_of(content, path), digest, str(where))


def find_checkpoint(where: str | Path) -> Path:
    """Return the local file that holds the weights, fetched first where it is on the Hub.

    Raises:
        BadInput: If there is none, or a folder holds several and no `model_best`.
    """
    if str(where).startswith("hf://"):
        return _from_hub(str(where))
    path = Path(where).expanduser()
    if path.is_dir():
        return _in_folder(path)
    if not path.is_file():
        raise BadInput(f"checkpoint {where} does not exist; give a file, folder or hf:// address")
    if not _has_suffix(path.name):
        raise BadInput(f"checkpoint {where}: its name should end in {', '.join(SUFFIXES)}")
    return path


def load_strictly(network: torch.nn.Module, checkpoint: Checkpoint, name: str) -> None:
    """Copy the tensors into the network; every name and shape must agree.

    Args:
        network: Takes the tensors.
        checkpoint: Has them.
        name: What the network is called, for the message.

    Raises:
        BadInput: If tensors are missing, too many, or of another shape.
    """
    own = network.state_dict()
    complaint = mismatch(
        {key: tuple(tensor.shape) for key, tensor in own.items()},
        {key: tuple(tensor.shape) for key, tensor in checkpoint.state.items()},
    )
    if complaint:
        raise BadInput(f"checkpoint {checkpoint.origin} does not fit {name}: {complaint}")
    # torch before 0.4.1 kept no such counters; inference does not read them.
    counters = {key: own[key] for key in own.keys() - checkpoint.state.keys()}
    network.load_state_dict({**checkpoint.state, **counters}, strict=True)


def mismatch(
    wanted: Mapping[str, tuple[int, ...]], given: Mapping[str, tuple[int, ...]]
) -> str | None:
    """Return in what the names and shapes of two state dicts differ; None if they agree."""
    missing = [
        key for key in wanted if key not in given and not key.endswith("num_batches_tracked")
    ]
    surplus = [key for key in given if key not in wanted]
    reshaped = [
        f"{key} {given[key]}, not {wanted[key]}"
        for key in wanted
        if key in given and given[key] != wanted[key]
    ]
    found = {"missing": missing, "too much": surplus, "of another shape": reshaped}
    return "; ".join(f"{_some(names)} {kind}" for kind, names in found.items() if names) or None


def state_hash(network: torch.nn.Module) -> str:
    """Return SHA-256 over names, shapes and values, for weights that did not come from a file."""
    digest = hashlib.sha256()
    for key, tensor in sorted(network.state_dict().items()):
        digest.update(f"{key} {tuple(tensor.shape)} {tensor.dtype}\0".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _some(names: list[str]) -> str:
    """Return the first few names and how many more there are."""
    more = f" and {len(names) - _FIRST} more" if len(names) > _FIRST else ""
    return f"{', '.join(names[:_FIRST])}{more}"


def _has_suffix(name: str) -> bool:
    """Return whether a file is called like a checkpoint; GeoAware-SC's ends in .PTH."""
    return name.lower().endswith(SUFFIXES)


def _in_folder(folder: Path) -> Path:
    """Return the checkpoint of a folder: `model_best`, as the CATs family names it, or the only."""
    files = sorted(path for path in folder.iterdir() if _has_suffix(path.name))
    best = [path for path in files if path.name.partition(".")[0] == "model_best"] or files
    if not best:
        raise BadInput(f"checkpoint {folder}: no {', '.join(SUFFIXES)} in this folder")
    if len(best) > 1:
        raise BadInput(f"checkpoint {folder}: {_some([p.name for p in best])}; name one file")
    return best[0]


def _from_hub(address: str) -> Path:
    """Return the local copy of a Hub file; it is fetched if it is not in the Hub's cache."""
    from huggingface_hub import hf_hub_download  # noqa: PLC0415 -- slow, and only needed here
    from huggingface_hub.errors import HFValidationError  # noqa: PLC0415 -- as above

    parts = _HUB.fullmatch(address)
    if parts is None or not _has_suffix(parts["file"]):
        raise BadInput(f"checkpoint {address!r}: write hf://org/repo/file.safetensors@revision")
    try:
        return Path(hf_hub_download(parts["repo"], parts["file"], revision=parts["revision"]))
    except (OSError, HFValidationError) as error:  # every network and Hub error is an OSError
        raise BadInput(
            f"checkpoint {address} cannot be fetched ({type(error).__name__}); "
            f"check the address and the network, or give --checkpoint a local file"
        ) from error


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a safetensors file, which can hold nothing else."""
    try:
        return load_file(path)
    except SafetensorError as error:
        raise BadInput(f"checkpoint {path} is damaged ({error}); fetch it again") from error


def _read_torch(path: Path) -> object:
    """Return what `torch.save` wrote, as far as it is tensors and plain containers."""
    damaged = f"checkpoint {path} is cut short or no checkpoint at all; fetch it again"
    with path.open("rb") as file:
        if not file.read(4).startswith(_MAGIC):
            raise BadInput(damaged)
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_numpy_scalars()):
            warnings.simplefilter("ignore", UserWarning)  # that of a plain pickle, refused below
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        names = ", ".join(dict.fromkeys(_GLOBAL.findall(str(error)))) or "a pickle"
        raise BadInput(
            f"checkpoint {path} holds more than tensors ({names}), could execute code on loading "
            f"and is refused; save its state_dict alone, or as safetensors"
        ) from error
    except _STUMBLES as error:
        raise BadInput(damaged) from error


def _numpy_scalars() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """Return what a best score saved as a numpy scalar is made of: data, no code."""
    scalar: Any = np.float64(0).__reduce__()[0]
    kinds = {type(np.dtype(code)) for code in "fdilqB?"}
    # numpy 1 called the module core, numpy 2 calls it _core; files of both are about.
    return [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")] + [
        np.dtype,
        *kinds,
    ]


def _state_of(content: object, path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors by bare name, unwrapped from what a training loop saves beside them."""
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not content:
        raise BadInput(f"checkpoint {path} holds no tensors by name; save a state_dict")
    strange = [str(key) for key, value in content.items() if not isinstance(value, torch.Tensor)]
    if strange:
        raise BadInput(
            f"checkpoint {path} is no state_dict ({_some(strange)} are no tensors); save one, "
            f"bare or under 'state_dict'"
        )
    prefixed = all(key.startswith(_PARALLEL) for key in content)
    return {key.removeprefix(_PARALLEL) if prefixed else key: content[key] for key in content}
