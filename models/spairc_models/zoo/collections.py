"""Collections of networks: any network of a library, or code of a repository."""

from spairc_models.zoo.model import Model

# Collections of networks: "torchvision:resnet101" is torchvision's resnet101. Their functions take
# that name first.
COLLECTIONS: dict[str, Model] = {
    "torchvision": Model(
        where="spairc_models.nearest:nearest_matcher",
        description="nearest feature of any torchvision network: torchvision:resnet101",
        paper="the network's own",
        licence="BSD-3-Clause (torchvision)",
        side=None,
        weights="https://pytorch.org/vision/stable/models.html",
    ),
    "timm": Model(
        where="spairc_models.nearest:nearest_matcher",
        description="nearest feature of any timm network: timm:vit_small_patch14_dinov2.lvd142m",
        paper="the network's own",
        licence="the network's own",
        side=None,
        weights="https://huggingface.co/timm",
    ),
    "hub": Model(
        where="spairc_models.hub:repository_matcher",
        description="torch.hub's, by GitHub or path: hub:facebookresearch/dinov2:dinov2_vitb14",
        paper="the model's own",
        licence="the repository's own",
        side=None,
        weights="the repository's own",
    ),
    "repo": Model(
        where="spairc_models.hub:repository_matcher",
        description="code of a local repository: repo:/path:package.module:Name",
        paper="the model's own",
        licence="the repository's own",
        side=None,
        weights="the repository's own",
    ),
}
