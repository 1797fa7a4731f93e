"""The official programs that run beside ours: what makes their network, and what asks it.

Each function imports from a clone, so it does it inside. They run as their test programs do, a pair
at a time: both pictures through the network, then their own readout. NC-Net, CNNGeo and WeakAlign
were written for a PyTorch whose grids began and ended at the centres of the outer pixels, which
today's has to be told: their pictures are resized here, for both sides, by ours.

To add one: an entry in `PEERS`.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from spairc_models.corner_aligned import SCNET, CornerAligned
from spairc_models.preprocessing import Preprocessing

State: TypeAlias = dict[str, Tensor]


def load_strictly(network: Any, state: State) -> None:
    """Give a program's network our weights: its names are ours."""
    network.load_state_dict(state)


def leave(_: State) -> None:
    """Leave random weights as they were drawn."""


@dataclass(frozen=True)
class Peer:
    """An official program; all but `settle` runs in its own process, the clone first on the path.

    `answer` takes the network, the two pictures, (1, 3, side, side) each, that whose points are
    given first, and the points, (1, 2, N) in pixels of its square; it returns (1, 2, N).
    """

    repository: str  # on GitHub
    told_by: str  # a file that only this one's clones have
    side: int  # pixels of the square input
    make: Callable[[], Any]
    answer: Callable[[Any, Tensor, Tensor, Tensor], Tensor]
    packages: tuple[str, ...] = ()  # that its network needs and spairc does not, by pip's names
    input: Preprocessing | None = None  # ours, where the program's own is not to be had today
    load: Callable[[Any, State], None] = load_strictly
    settle: Callable[[State], None] = leave  # makes random weights say something of the pictures
    part: str = ""  # of its network: a function that is timed by itself, after the features
    our_part: str = ""  # module:function that does the same here


def _cats() -> Any:
    """Return the network of the published SPair-71k checkpoint's settings."""
    network = importlib.import_module("models.cats").CATs
    return network(depth=1, hyperpixel_ids=[0, 8, 20, 21, 26, 28, 29, 30], freeze=True)


def _catspp() -> Any:
    return importlib.import_module("models.cats_improved").CATsImproved(backbone="resnet101")


def _scorrsan() -> Any:
    return importlib.import_module("models.model.scorrsan").SCorrSAN(freeze=True)


def _transformatcher() -> Any:
    network = importlib.import_module("transformatcher").TransforMatcher
    return network("resnet101", [3, 4], torch.device("cpu"), 240)


def _chm() -> Any:
    network = importlib.import_module("model.chmnet").CHMNet("psi")
    importlib.import_module("model.base.geometry").Geometry.initialize(240)
    return network


def _vat() -> Any:
    return importlib.import_module("models.vat").VAT()  # a clone of the branch semantic-matching


def _ncnet() -> Any:
    network = importlib.import_module("lib.model").ImMatchNet
    return network(ncons_kernel_sizes=[5, 5, 5], ncons_channels=[16, 16, 1], use_cuda=False)


def _cnngeo() -> Any:
    _align_corners()
    network = importlib.import_module("model.cnn_geometric_model").CNNGeometric
    return network(feature_extraction_cnn="resnet101", use_cuda=False)


def _weakalign() -> Any:
    _align_corners()
    make = importlib.import_module("model.cnn_geometric_model").TwoStageCNNGeometric
    network = make(feature_extraction_cnn="resnet101", use_cuda=False)
    correlate = network.FeatureCorrelation.forward
    # Today's convolutions keep the order in memory of what they get; of that order no view is one.
    network.FeatureCorrelation.forward = lambda *both: correlate(*both).contiguous()
    return network


def _align_corners() -> None:
    """Let -1 and 1 be the outer pixels' centres, which before torch 1.3 they always were."""
    for name in ("grid_sample", "affine_grid"):
        setattr(functional, name, partial(getattr(functional, name), align_corners=True))


def _dhpf() -> Any:
    return importlib.import_module("model.dhpf").DynamicHPF("resnet101", torch.device("cpu"))


def _load_dhpf(network: Any, state: State) -> None:
    """Give the gates theirs, and the trunk, which takes two pictures side by side, each twice."""
    gates = {key: value for key, value in state.items() if "_ffns." in key}
    trunk = {key: value for key, value in state.items() if key not in gates}
    network.learner.load_state_dict(gates)
    twice = {
        # A count of batches is one number, and the classes are those of one picture.
        key: torch.cat([value, value]) if value.ndim and not key.startswith("fc.") else value
        for key, value in trunk.items()
    }
    network.backbone.load_state_dict(twice)


def _by_flow(network: Any, first: Tensor, second: Tensor, points: Tensor) -> Tensor:
    """Return what the CATs family's programs answer: they ask the target's points."""
    utilities = importlib.import_module("utils_training.utils")
    answer: Tensor = utilities.flow2kps(points, network(first, second), _count(points))
    return answer


def _by_all_matches(network: Any, first: Tensor, second: Tensor, points: Tensor) -> Tensor:
    """Return what TransforMatcher's test program answers."""
    geometry = importlib.import_module("geometry").Geometry
    scores, _ = network(first, second)
    found = geometry.transfer_kps_diff(scores, points, _count(points), normalized=False)
    answer: Tensor = geometry.unnormalize_kps(found)
    return answer


def _by_votes(network: Any, first: Tensor, second: Tensor, points: Tensor) -> Tensor:
    """Return what CHM's test program answers."""
    geometry = importlib.import_module("model.base.geometry").Geometry
    votes = network(first, second)
    found = geometry.transfer_kps(votes, points, _count(points), normalized=False)
    answer: Tensor = geometry.unnormalize_kps(found)
    return answer


def _by_consensus(network: Any, first: Tensor, second: Tensor, points: Tensor) -> Tensor:
    """Return what NC-Net's evaluation on PF-PASCAL answers: it asks the target's points."""
    points_of = importlib.import_module("lib.point_tnf")
    scores = network({"source_image": second, "target_image": first})
    matches = points_of.corr_to_matches(scores, do_softmax=True)[:4]
    places = points_of.PointsToUnitCoords(points + 1, _size(first))  # counted from 1
    found = points_of.bilinearInterpPointTnf(matches, places)
    answer: Tensor = points_of.PointsToPixelCoords(found, _size(second)) - 1
    return answer


def _by_warps(network: Any, first: Tensor, second: Tensor, points: Tensor) -> Tensor:
    """Return what CNNGeo's and WeakAlign's evaluations answer: they ask the target's points."""
    points_of = importlib.import_module("geotnf.point_tnf")
    warps = network({"source_image": second, "target_image": first})
    affine, *others = warps if isinstance(warps, tuple) else (warps,)
    move = points_of.PointTnf(use_cuda=False)
    places = points_of.PointsToUnitCoords(points + 1, _size(first))  # counted from 1
    for plate in others:
        places = move.tpsPointTnf(plate, places)
    found = move.affPointTnf(affine, places)
    answer: Tensor = points_of.PointsToPixelCoords(found, _size(second)) - 1
    return answer


def _by_gated_votes(network: Any, first: Tensor, second: Tensor, points: Tensor) -> Tensor:
    """Return what DHPF's test program answers."""
    geometry = importlib.import_module("model.base.geometry").Geometry
    scores, _ = network(first, second)
    answer: Tensor = geometry.transfer_kps(scores, points, _count(points))
    return answer[:, :, : points.shape[2]]  # it pads to 400 points


def _size(picture: Tensor) -> Tensor:
    return torch.tensor([picture.shape[2:]])


def _count(points: Tensor) -> Tensor:
    return torch.tensor([points.shape[2]])


def _centre(state: State) -> None:
    """Let NC-Net's convolutions give more weight to a match than to those around it.

    With plain random weights zeros beyond the borders decide every answer.
    """
    for key, value in state.items():
        if key.startswith("NeighConsensus") and key.endswith("weight"):
            middle = value.shape[0] // 2
            value.mul_(DAMPED)
            value[middle, :, :, middle, middle, middle] += 1 / value.shape[2]


def _stay(state: State) -> None:
    """Let CNNGeo's and WeakAlign's warps be near to none at all."""
    for name, warp in (("FeatureRegression", AFFINE), ("FeatureRegression2", THIN_PLATE)):
        if f"{name}.linear.bias" in state:
            state[f"{name}.linear.bias"] += torch.tensor(warp)


DAMPED = 0.05  # of a random weight around the middle
AFFINE = (1.0, 0, 0, 0, 1, 0)
THIN_PLATE = (-1.0, -1, -1, 0, 0, 0, 1, 1, 1, -1, 0, 1, -1, 0, 1, -1, 0, 1)

PEERS: Mapping[str, Peer] = {
    # Before CATs: its clones hold a file of that one's as well.
    "vat": Peer(
        repository="Seokju-Cho/Volumetric-Aggregation-Transformer",
        told_by="models/vat.py",
        side=512,
        make=_vat,
        answer=_by_flow,
        packages=("einops",),
        part="hpn_learner.forward",
        our_part="spairc_models.vat:Aggregator.forward",
    ),
    # Before CNNGeo, for the same reason.
    "weakalign": Peer(
        repository="ignacio-rocco/weakalign",
        told_by="train_weak.py",
        side=240,
        make=_weakalign,
        answer=_by_warps,
        input=CornerAligned(240, measured=SCNET),
        settle=_stay,
    ),
    "cnngeo": Peer(
        repository="ignacio-rocco/cnngeometric_pytorch",
        told_by="geotnf/point_tnf.py",
        side=240,
        make=_cnngeo,
        answer=_by_warps,
        input=CornerAligned(240),
        settle=_stay,
    ),
    "ncnet": Peer(
        repository="ignacio-rocco/ncnet",
        told_by="lib/conv4d.py",
        side=400,
        make=_ncnet,
        answer=_by_consensus,
        input=CornerAligned(400, measured=SCNET),
        settle=_centre,
        part="NeighConsensus.forward",
        our_part="spairc_models.ncnet:Consensus.forward",
    ),
    "dhpf": Peer(
        repository="juhongm999/dhpf",
        told_by="model/gating.py",
        side=240,
        make=_dhpf,
        answer=_by_gated_votes,
        load=_load_dhpf,
        part="rhm.run",
        our_part="spairc_models.dhpf:hough_matching",
    ),
    "cats": Peer(
        repository="SunghwanHong/Cost-Aggregation-transformers",
        told_by="models/cats.py",
        side=256,
        make=_cats,
        answer=_by_flow,
    ),
    "catspp": Peer(
        repository="KU-CVLAB/CATs-PlusPlus",
        told_by="models/cats_improved.py",
        side=512,
        make=_catspp,
        answer=_by_flow,
        packages=("einops",),
    ),
    "scorrsan": Peer(
        repository="ShuaiyiHuang/SCorrSAN",
        told_by="models/model/scorrsan.py",
        side=256,
        make=_scorrsan,
        answer=_by_flow,
    ),
    "transformatcher": Peer(
        repository="wookiekim/transformatcher",
        told_by="transformatcher.py",
        side=240,
        make=_transformatcher,
        answer=_by_all_matches,
        packages=("einops", "rotary-embedding-torch==0.1.5"),
    ),
    "chm": Peer(
        repository="juhongm999/chm",
        told_by="model/chmnet.py",
        side=240,
        make=_chm,
        answer=_by_votes,
    ),
}
