"""MARCO, run from its own repository by way of torch.hub (Cuttano et al., CVPR 2026).

Naming it runs the repository's code, which itself fetches DINOv2's code and weights. Its settings
are those of its evaluation on SPair-71k: pictures squashed to 770 x 770, points kept inside.
"""

from pathlib import Path

from spairc_models.hub import repository_matcher
from spairc_models.isolation import Isolated


def marco_matcher(
    *,
    checkpoint: str | Path | None = None,
    repository: str = "visinf/MARCO",
    side: int = 770,
    device: str | None = None,
    precision: str = "float32",
) -> Isolated:
    """Return the matcher.

    Args:
        checkpoint: Weights of its adapters and upsampling head; what its hubconf.py releases if
            not given.
        repository: Its code: owner/repo of GitHub, or a folder.
        side: Pixels of the square input.
        device: "cpu", "cuda", "cuda:1"; None takes CUDA where there is one.
        precision: "float32" or "bfloat16".

    Raises:
        BadInput: If the code or the weights are not to be had, or do not fit.
    """
    weights = {} if checkpoint is None else {"checkpoint": checkpoint}
    chosen = {} if device is None else {"device": device}
    matcher = repository_matcher(
        f"hub:{repository}:marco",
        pairs=True,
        pretrained=checkpoint is None,
        side=side,
        precision=precision,
        **weights,
        **chosen,
    )
    matcher.name = "marco"
    return matcher
