"""Features of networks that were trained for something else, compared by their cosine."""

from spairc_models.zoo.model import Model

FEATURES: dict[str, Model] = {
    "dino-vits16": Model(
        where="spairc_models.presets:dino_vits16",
        description="nearest token of DINO, the small transformer",
        paper="Caron et al. 2021",
        licence="Apache-2.0",
        side=800,
        weights="https://huggingface.co/timm/vit_small_patch16_224.dino",
    ),
    "dino-vitb16": Model(
        where="spairc_models.presets:dino_vitb16",
        description="nearest token of DINO, read as Probe3D does",
        paper="Caron et al. 2021",
        licence="Apache-2.0",
        side=800,
        weights="https://huggingface.co/timm/vit_base_patch16_224.dino",
    ),
    "dinov2-vits14": Model(
        where="spairc_models.presets:dinov2_vits14",
        description="nearest token of DINOv2, the small transformer",
        paper="Oquab et al. 2023",
        licence="Apache-2.0",
        side=840,
        weights="https://huggingface.co/timm/vit_small_patch14_dinov2.lvd142m",
    ),
    "dinov2-vitb14": Model(
        where="spairc_models.presets:dinov2_vitb14",
        description="nearest token of DINOv2, read as SD+DINO does",
        paper="Oquab et al. 2023",
        licence="Apache-2.0",
        side=840,
        weights="https://huggingface.co/timm/vit_base_patch14_dinov2.lvd142m",
    ),
    "dinov2-vitl14": Model(
        where="spairc_models.presets:dinov2_vitl14",
        description="nearest token of DINOv2, the large transformer",
        paper="Oquab et al. 2023",
        licence="Apache-2.0",
        side=840,
        weights="https://huggingface.co/timm/vit_large_patch14_dinov2.lvd142m",
    ),
    "clip-vitb16": Model(
        where="spairc_models.presets:clip_vitb16",
        description="nearest token of CLIP's picture encoder",
        paper="Radford et al. 2021",
        licence="Apache-2.0",
        side=800,
        weights="https://huggingface.co/timm/vit_base_patch16_clip_quickgelu_224.openai",
    ),
    "convnext-base": Model(
        where="spairc_models.presets:convnext_base",
        description="nearest feature of ConvNeXt's last stage",
        paper="Liu et al. 2022",
        licence="Apache-2.0",
        side=800,
        weights="https://huggingface.co/timm/convnext_base.fb_in22k",
    ),
}
