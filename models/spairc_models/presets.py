"""Backbones as the literature reads them: network, layer, input and readout under a short name.

Every setting is a default; a user's own replaces it. To add one: a line here and an entry in
`spairc_models.MODELS`.

Zhang et al., "A Tale of Two Features" (NeurIPS 2023), called SD+DINO: pictures padded to 840 x
840, Lanczos, tokens of DINOv2's last block before the final normalisation, the cell that holds the
point against all cells. Their distances count by the protocol "sd-dino".

El Banani et al., "Probing the 3D Awareness of Visual Foundation Models" (CVPR 2024): pictures
padded to 800 x 800, bicubic, the last block or stage, points read bilinearly, the most similar
cell. Their program pads on the right and below only and answers with a cell's corner; here the
picture is in the middle and the answer a cell's centre.

Tang et al., "Emergent Correspondence from Image Diffusion" (NeurIPS 2023) compare OpenCLIP and
DINO pixel by pixel: give --readout full.
"""

from functools import partial

from spairc_models.nearest import nearest_matcher

_sd_dino = partial(
    nearest_matcher, side=840, resize="pad", interpolation="lanczos", readout="sd-dino"
)
_probe3d = partial(
    nearest_matcher, side=800, resize="pad", interpolation="bicubic", readout="argmax"
)

dinov2_vits14 = partial(
    _sd_dino, "timm:vit_small_patch14_dinov2.lvd142m", label="dinov2-vits14", layers=11
)
dinov2_vitb14 = partial(
    _sd_dino, "timm:vit_base_patch14_dinov2.lvd142m", label="dinov2-vitb14", layers=11
)
dinov2_vitl14 = partial(
    _sd_dino, "timm:vit_large_patch14_dinov2.lvd142m", label="dinov2-vitl14", layers=23
)
dino_vits16 = partial(_probe3d, "timm:vit_small_patch16_224.dino", label="dino-vits16", layers=11)
dino_vitb16 = partial(_probe3d, "timm:vit_base_patch16_224.dino", label="dino-vitb16", layers=11)
# OpenAI's weights were trained with the quick approximation of GELU.
clip_vitb16 = partial(
    _probe3d, "timm:vit_base_patch16_clip_quickgelu_224.openai", label="clip-vitb16", layers=11
)
convnext_base = partial(_probe3d, "timm:convnext_base.fb_in22k", label="convnext-base", layers=3)
