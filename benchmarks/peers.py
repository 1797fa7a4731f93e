"""The official programs that `benchmarks/matchers.py` runs beside ours, each in its own process.

Nothing in a clone is changed. They were written for a GPU and for older libraries, so their
process is told, before their code is imported, that `.cuda()` means to stay where one is, that
ImageNet's weights are random ones (the benchmark's own replace them at once), and that
tensorboardX and CLIP, which only their training and other backbones use, are there. They run as
their test programs do, a pair at a time: both pictures through the network, then their own readout.
Reading and resizing of pictures, which their data loaders do in other processes, is not counted.

To add one: an entry in `PEERS`. Its functions import from the clone, so they do it inside.

    python benchmarks/peers.py MODEL CLONE FOLDER THREADS [PACKAGES]
"""

import importlib
import json
import sys
import time
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import models, transforms

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet; every peer's
MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Peer:
    """An official program; its two functions run in its own process, the clone first on the path.

    `answer` takes the network, the two pictures, (1, 3, side, side) each, that whose points are
    given first, and the points, (1, 2, N) in pixels of its square; it returns (1, 2, N).
    """

    repository: str  # on GitHub
    told_by: str  # a file that only this one's clones have
    side: int  # pixels of the square input
    make: Callable[[], Any]
    answer: Callable[[Any, Tensor, Tensor, Tensor], Tensor]
    packages: tuple[str, ...] = ()  # that its network needs and spairc does not, by pip's names


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


def _count(points: Tensor) -> Tensor:
    return torch.tensor([points.shape[2]])


PEERS: Mapping[str, Peer] = {
    # Before CATs: its clones hold a file of that one's as well.
    "vat": Peer(
        repository="Seokju-Cho/Volumetric-Aggregation-Transformer",
        told_by="models/vat.py",
        side=512,
        make=_vat,
        answer=_by_flow,
        packages=("einops",),
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


def main() -> None:
    """Serve one official program: a line of JSON in, a line of JSON out."""
    out, sys.stdout = sys.stdout, sys.stderr  # whatever the code prints must not get in between
    name, clone, folder, threads, *packages = sys.argv[1:]
    torch.set_num_threads(int(threads))
    sys.path[0:1] = [clone, *packages]  # in place of this script's own folder
    _pretend()
    network = PEERS[name].make()
    network.load_state_dict(torch.load(Path(folder, "weights.pth"), weights_only=True))
    network.eval()
    pictures = [np.load(path) for path in sorted(Path(folder).glob("picture-*.npy"))]
    asked = json.loads(Path(folder, "pairs.json").read_text())

    def answered(numbers: list[int]) -> list[list[list[float]]]:
        return [_answered(PEERS[name], network, pictures, asked[number]) for number in numbers]

    with torch.inference_mode():
        serve({"pairs": answered}, out)


def serve(verbs: Mapping[str, Callable[[list[int]], Any]], out: TextIO) -> None:
    """Do what each line of the input asks; tell what came out, the seconds and the memory.

    The memory is megabytes: what the process held before, and the most that it held meanwhile.

    Args:
        verbs: What can be asked.
        out: Where the answers go; nothing else may be written there.
    """
    print("{}", file=out, flush=True)
    for line in sys.stdin:
        verb, numbers = json.loads(line)
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = resident("VmRSS")
        start = time.perf_counter()
        answer = verbs[verb](numbers)
        seconds = time.perf_counter() - start - pop_uncounted()
        told = {"answer": answer, "seconds": seconds, "before": before, "peak": resident("VmHWM")}
        print(json.dumps(told), file=out, flush=True)


_uncounted = [0.0]


def pop_uncounted() -> float:
    """Return the seconds since the last call that a program is not charged with."""
    seconds, _uncounted[0] = _uncounted[0], 0.0
    return seconds


def resident(field: str) -> float:
    """Return what Linux says of this process's memory, in megabytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024 / MEGABYTE


def _answered(
    peer: Peer, network: Any, pictures: list[np.ndarray], asked: Mapping[str, Any]
) -> list[list[float]]:
    """Return the official answer to one pair, (N, 2) in original pixels of the second picture."""
    start = time.perf_counter()
    prepare = transforms.Compose(
        [
            transforms.Resize((peer.side, peer.side)),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    both = [pictures[asked[role]] for role in ("source", "target")]
    first, second = (prepare(Image.fromarray(each)).unsqueeze(0) for each in both)
    # As their data sets do it: float32 points times the ratio of the sides.
    (there, back) = (peer.side / torch.tensor(each.shape[1::-1]).double() for each in both)
    points = (torch.tensor(asked["points"]) * there.float()).T.unsqueeze(0)
    _uncounted[0] += time.perf_counter() - start
    found = peer.answer(network, first, second, points)
    answer: list[list[float]] = (found[0].T.double() / back).tolist()
    return answer


def _pretend() -> None:
    """Make an old program for a GPU run on a CPU and on today's libraries."""
    here = lambda self, *_, **__: self  # noqa: E731 -- one line for both
    torch.Tensor.cuda = here  # type: ignore[method-assign]  # that is the point
    torch.nn.Module.cuda = here  # type: ignore[method-assign]  # as above
    make = models.resnet101
    # The files that these programs knew count no batches.
    counted = make().state_dict().items()
    weights = {key: value for key, value in counted if not key.endswith("num_batches_tracked")}
    torch.hub.load_state_dict_from_url = lambda *_, **__: dict(weights)
    torch.utils.model_zoo.load_url = torch.hub.load_state_dict_from_url
    models.resnet.resnet101 = lambda **_: make()
    for name, inside in (("tensorboardX", "SummaryWriter"), ("clip", "load")):
        module = types.ModuleType(name)
        setattr(module, inside, None)
        sys.modules[name] = module


if __name__ == "__main__":
    main()
