"""Parts of recipes that several ways to learn have in common.

Fields and their sources are told as in `recipe`, which puts a run together from these.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Network:
    """Which network is trained, and what it starts from."""

    name: str  # cats, catspp or scorrsan
    side: int = 256  # pixels of the input; 512 for CATs++
    cells: int = 16  # along a side of the flow; CATs++ 32, SCorrSAN always 64
    field: int = 35  # pixels: receptive field of a key point; SCorrSAN 11
    trunk: str = "resnet"  # or mobilenet_v2, where the machine is small; CATs and SCorrSAN only
    blocks: tuple[int, ...] = (3, 4, 23, 3)  # bottlenecks of a ResNet's stages: ResNet-101
    width: int = 64  # of a ResNet
    layers: tuple[int, ...] = (0, 8, 20, 21, 26, 28, 29, 30)  # of the trunk: CATs all, SCorrSAN one
    temperature: float = 0.02  # of the soft-argmax: all three; another one is for CATs
    weights: str = "imagenet"  # of the trunk at the start: "imagenet", "random", or a file


@dataclass(frozen=True, kw_only=True)
class Optimiser:
    """AdamW, and when its rates fall."""

    learning_rate: float = 3e-5  # CATs, SCorrSAN; CATs++ 3e-4
    backbone_learning_rate: float = 3e-6  # all three; 0 leaves the trunk as it is: CATs' "freeze"
    weight_decay: float = 0.05  # on everything, the trained coordinates included
    milestones: tuple[float, ...] = (0.7, 0.8, 0.9)  # shares of the epochs: CATs 70, 80, 90 of 100
    factor: float = 0.5  # by which the rates are multiplied at each milestone
    batch_size: int = 32  # labelled pairs a step: CATs, CATs++; SCorrSAN 16


@dataclass(frozen=True, kw_only=True)
class Noise:
    """What is done to the pictures of labelled pairs in supervised training."""

    photometric: str = "cats"  # list of operations (`augment.LISTS`)
    chance: float = 0.2  # of each operation, on each picture for itself: CATs
    crop: float = 0.5  # chance of a random crop that keeps the object's box: CATs; SCorrSAN 0


@dataclass(frozen=True, kw_only=True)
class Unlabelled:
    """Which pictures without labels are used, and how they are paired."""

    balance: str = "fewest"  # open: every class as many as the smallest has; or "oversample"
    with_labelled: float = 0.5  # open: share of pairs with one labelled picture; the rest has none
    # Open: before that, the share of pairs of two labelled pictures that no labelled pair joins, as
    # those that have no key point in common.
    both_labelled: float = 0.0
    fewest: int = 2  # pictures that a class must have
    # Of 256 bits, how many may differ in pictures held to be the same. Of 155 photographs, copies
    # of half the size at JPEG quality 75 differed in at most 22 bits (99 %), and other pictures in
    # 29 or more, save series of one bottle.
    hash_bits: int = 24


@dataclass(frozen=True, kw_only=True)
class Amplitudes:
    """How large a random warp may be, before `draw_warp`'s strength multiplies it.

    Rotation, axis, scale and shift are those of SemiMatch's "afftps" warps, the same authors'
    program; MatchMe's paper names families only (its references 24, 42, 50).
    """

    rotation: float = 15.0  # degrees, either way
    axis: float = 30.0  # degrees, either way: along which the two scales act, a shear in effect
    scale: float = 0.25  # of two scales, about 1
    shift: float = 0.25  # of the picture's half side
    bend: float = 0.4  # of the half side, each control place of the spline
