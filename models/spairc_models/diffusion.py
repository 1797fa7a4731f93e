"""A latent diffusion model, as far as its features need it: read with diffusers, cut, frozen."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from spairc.types import BadInput
from spairc_models.adapter import Execution, frozen
from spairc_models.checkpoint import state_hash

_PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")  # subfolders


@dataclass(frozen=True, eq=False)
class Diffusion:
    """The networks of a latent diffusion model at one timestep, read at one up block."""

    unet: Any  # ends behind the block, if one is read
    autoencoder: Any  # its encoder only
    text_encoder: Any
    tokenizer: Any
    signal: float  # what the timestep leaves of the latents
    noise: float  # and how much noise it adds
    device: torch.device
    timestep: int
    weights: str  # SHA-256 over the tensors of what is run
    prompts: dict[str, Tensor] = field(default_factory=dict)  # embeddings, as they are asked for

    @property
    def unit(self) -> int:
        """How many pixels of a picture the UNet's coarsest cell is wide."""
        return _unit(self.unet, self.autoencoder)

    def latent_shape(self, side: int) -> tuple[int, int, int]:
        """Return channels, rows and columns of the latents of a square picture."""
        cells = side // _scale(self.autoencoder)
        return self.autoencoder.config.latent_channels, cells, cells

    def latents(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation, (B, channels, rows, columns) each.

        Args:
            inputs: (B, 3, side, side) in [-1, 1].
        """
        found = self.autoencoder.encode(inputs).latent_dist
        factor = self.autoencoder.config.scaling_factor
        return found.mean.float() * factor, found.std.float() * factor

    def noised(self, latents: Tensor, noise: Tensor) -> Tensor:
        """Return the latents at the timestep of the diffusion process."""
        return self.signal * latents + self.noise * noise

    def features(self, latents: Tensor, prompt: str, batch_size: int) -> Tensor:
        """Return what the block has of noised latents, (channels, rows, columns) float32.

        Args:
            latents: (ensemble, channels, rows, columns), over which features are averaged.
            prompt: What the UNet is told.
            batch_size: How many of the ensemble it takes at once.
        """
        told = self.told(prompt)
        total = torch.zeros((), device=self.device)
        for some in torch.split(latents, batch_size):
            found = self.unet(some, self.timestep, told.expand(len(some), -1, -1)).sample
            total = total + found.float().sum(dim=0)
        return total / len(latents)

    def told(self, prompt: str) -> Tensor:
        """Return (1, tokens, channels), the embedding of a prompt."""
        if prompt not in self.prompts:
            length = min(
                self.tokenizer.model_max_length, self.text_encoder.config.max_position_embeddings
            )
            tokens = self.tokenizer(
                prompt,
                padding="max_length",
                max_length=length,
                truncation=True,
                return_tensors="pt",
            )
            ids = tokens.input_ids.to(self.device)
            self.prompts[prompt] = self.text_encoder(ids).last_hidden_state
        return self.prompts[prompt]


def load_diffusion(
    checkpoint: str, timestep: int, block: int | None, side: int, how: Execution, name: str = "dift"
) -> Diffusion:
    """Return a model from a folder in the layout of diffusers, or from the Hub.

    Weights are read from safetensors files only, so nothing is unpickled.

    Args:
        checkpoint: A folder, or hf://org/repo@revision.
        timestep: Of the diffusion process.
        block: The up block that is read; None keeps the whole UNet.
        side: Of the square pictures.
        how: Device and precision.
        name: What the matcher is called, for messages.

    Raises:
        BadInput: If diffusers is not installed, there is no such model, its weights are
            incomplete, or it has no such timestep, block or side.
    """
    diffusers, transformers = _libraries(name)
    where = _where(checkpoint)
    with _quiet(transformers):
        scheduler = _read(diffusers.DDIMScheduler, where, "scheduler", checkpoint)
        share = _share_of_signal(scheduler, timestep)
        tokenizer = _read(transformers.CLIPTokenizer, where, "tokenizer", checkpoint)
        unet = _network(diffusers.UNet2DConditionModel, where, "unet", checkpoint)
        autoencoder = _network(diffusers.AutoencoderKL, where, "vae", checkpoint)
        text = _network(transformers.CLIPTextModel, where, "text_encoder", checkpoint)
    check_side(side, _unit(unet, autoencoder), name)
    if block is not None:
        _cut(unet, block)
    autoencoder.decoder = None
    networks = nn.ModuleDict({"unet": unet, "vae": autoencoder, "text_encoder": text})
    frozen(networks, how)
    return Diffusion(
        unet=unet,
        autoencoder=autoencoder,
        text_encoder=text,
        tokenizer=tokenizer,
        signal=share**0.5,
        noise=(1 - share) ** 0.5,
        device=how.device,
        timestep=timestep,
        weights=state_hash(networks),
    )


def _libraries(name: str) -> tuple[Any, Any]:
    """Return diffusers and transformers."""
    try:
        import diffusers  # noqa: PLC0415 -- an extra, and slow to import
        import transformers  # noqa: PLC0415 -- as above
    except ModuleNotFoundError as error:
        raise BadInput(f"{name} needs {error.name}; pip install 'spairc[diffusion]'") from None
    return diffusers, transformers


def _where(checkpoint: str) -> dict[str, Any]:
    """Return what from_pretrained is told to find a model.

    Raises:
        BadInput: If it is neither a folder of the right layout nor a Hub address.
    """
    if checkpoint.startswith("hf://"):
        repository, _, revision = checkpoint.removeprefix("hf://").partition("@")
        if repository.count("/") != 1:
            raise BadInput(f"checkpoint {checkpoint!r}: write hf://org/repo@revision")
        return {"pretrained_model_name_or_path": repository, "revision": revision or None}
    folder = Path(checkpoint).expanduser()
    lacking = [part for part in _PARTS if not (folder / part).is_dir()]
    if lacking:
        raise BadInput(
            f"checkpoint {checkpoint} has no {', '.join(lacking)}; give a folder in the layout of "
            f"diffusers, or hf://org/repo"
        )
    return {"pretrained_model_name_or_path": str(folder), "local_files_only": True}


def _read(kind: Any, where: dict[str, Any], part: str, checkpoint: str, **options: Any) -> Any:
    """Return one part of a model.

    Raises:
        BadInput: If it cannot be had.
    """
    # A missing file, the network and the Hub are OSErrors; settings that are none, ValueErrors;
    # weights of another shape, RuntimeErrors.
    try:
        return kind.from_pretrained(**where, subfolder=part, **options)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise BadInput(
            f"checkpoint {checkpoint}: its {part} cannot be read ({type(error).__name__}); give a "
            f"folder with config.json and *.safetensors, or fetch it where there is a network"
        ) from error


def _network(kind: Any, where: dict[str, Any], part: str, checkpoint: str) -> Any:
    """Return a network with every one of its weights.

    Raises:
        BadInput: If it cannot be had, or some weights are missing.
    """
    options: dict[str, Any] = {"use_safetensors": True, "output_loading_info": True}
    if part != "text_encoder":
        options["low_cpu_mem_usage"] = False  # needs one more library, for a gigabyte less
    network, found = _read(kind, where, part, checkpoint, **options)
    if missing := sorted(found["missing_keys"]):
        raise BadInput(
            f"checkpoint {checkpoint}: its {part} lacks {len(missing)} weights, such as "
            f"{missing[0]}; fetch it again"
        )
    return network


def _share_of_signal(scheduler: Any, timestep: int) -> float:
    """Return which share of a picture's variance is left at a timestep.

    Raises:
        BadInput: If the process has no such step.
    """
    shares = scheduler.alphas_cumprod
    if not 0 <= timestep < len(shares):
        raise BadInput(f"timestep {timestep}: choose from 0 to {len(shares) - 1}")
    return float(shares[timestep])


def _scale(autoencoder: Any) -> int:
    """Return how many pixels a latent cell is wide."""
    return int(2 ** (len(autoencoder.config.block_out_channels) - 1))


def _unit(unet: Any, autoencoder: Any) -> int:
    """Return how many pixels a UNet's coarsest cell is wide."""
    return int(_scale(autoencoder) * 2**unet.num_upsamplers)


def check_side(side: int, unit: int, name: str) -> None:
    """Raise BadInput unless the UNet can halve the latents as often as it does."""
    if side % unit:
        nearest = max(1, round(side / unit)) * unit
        raise BadInput(f"side {side}: {name} takes multiples of {unit}, the nearest is {nearest}")


def _cut(unet: Any, block: int) -> None:
    """End a UNet behind one of its up blocks.

    Raises:
        BadInput: If it has no such block.
    """
    count = len(unet.up_blocks)
    if not 0 <= block < count:
        raise BadInput(f"block {block}: the up blocks are 0 to {count - 1}")
    unet.up_blocks = unet.up_blocks[: block + 1]
    unet.conv_norm_out, unet.conv_out = None, nn.Identity()


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Keep bars, and what diffusers says wrongly to the Hub, off the terminal."""
    logging = transformers.utils.logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The `local_dir_use_symlinks` argument", UserWarning)
            yield
    finally:
        if shown:
            logging.enable_progress_bar()
