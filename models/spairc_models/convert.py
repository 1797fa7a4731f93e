"""A checkpoint as safetensors: nothing in it can be executed, and it says what it came from."""

from importlib.metadata import version
from pathlib import Path

from safetensors.torch import save_file

from spairc.files import written_whole
from spairc.types import BadInput
from spairc_models.checkpoint import read_checkpoint
from spairc_models.networks import fitting_network


def convert(where: str, out: Path) -> str:
    """Write a checkpoint's tensors as safetensors; return the network that they fit.

    The file's metadata tell the network, the name and the SHA-256 of the original file, and the
    version of spairc; optimiser states and the like are left behind.

    Args:
        where: A file, a folder, or hf://org/repo/file@revision.
        out: The file to write; its name must end in .safetensors.

    Raises:
        BadInput: If the checkpoint cannot be read or is of no network known here, or the file
            cannot be written.
    """
    if out.suffix != ".safetensors":
        raise BadInput(f"--out {out}: its name must end in .safetensors")
    checkpoint = read_checkpoint(where)
    network = fitting_network(checkpoint)
    if network is None:
        raise BadInput(f"checkpoint {where} is of no network known here; see spairc list models")
    metadata = {
        "format": "pt",
        "network": network,
        "original": Path(checkpoint.origin).name,
        "original_sha256": checkpoint.sha256,
        "spairc": version("spairc"),
    }
    state = {name: tensor.contiguous().clone() for name, tensor in checkpoint.state.items()}
    with written_whole(out) as temporary:
        save_file(state, temporary, metadata)
    return network
