"""Features of large frozen networks, joined or adapted to matching."""

from spairc_models.zoo.model import Model

FUSED: dict[str, Model] = {
    "sd-dino": Model(
        where="spairc_models.fused:sd_dino_matcher",
        description="three levels of Stable Diffusion and DINOv2 side by side",
        paper="Zhang et al. 2023",
        licence="none stated; Stable Diffusion 1.5: CreativeML Open RAIL-M",
        side=840,  # of DINOv2's input; Stable Diffusion's is 960
        protocol="sd-dino",
        weights="https://huggingface.co/stable-diffusion-v1-5/stable-diffusion-v1-5",
    ),
    "geoaware-sc": Model(
        where="spairc_models.geoaware:geoaware_matcher",
        description="Stable Diffusion and DINOv2 adapted to tell left from right",
        paper="Zhang et al. 2024",
        licence="none stated; Stable Diffusion 1.5: CreativeML Open RAIL-M",
        side=840,  # of DINOv2's input; Stable Diffusion's is 960
        protocol="geoaware-image",
        reported={"spair71k": 85.6},  # trained on AP-10k before
        weights="https://github.com/Junyi42/GeoAware-SC/tree/master/results_spair",
    ),
    "geoaware-zero": Model(
        where="spairc_models.geoaware:zero_shot_matcher",
        description="GeoAware-SC's features as they are, without pose alignment",
        paper="Zhang et al. 2024",
        licence="none stated; Stable Diffusion 1.5: CreativeML Open RAIL-M",
        side=840,
        # 65.4 is with pose alignment, which is told the names of keypoints: not comparable.
        protocol="geoaware-point",
        weights="https://huggingface.co/stable-diffusion-v1-5/stable-diffusion-v1-5",
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
    "marco": Model(
        where="spairc_models.marco:marco_matcher",
        description="DINOv2 with adapters, run from its repository: hub:visinf/MARCO:marco",
        paper="Cuttano et al. 2026",
        licence="Apache-2.0",
        side=770,
        reported={"spair71k": 87.2},  # of the weights trained on SPair-71k alone
        weights="https://drive.google.com/file/d/1_of8iQjenTttF5Jld69LNf9M0vnM2Xbx",
    ),
}
