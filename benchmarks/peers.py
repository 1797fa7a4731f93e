"""The official programs that `benchmarks/matchers.py` runs beside ours, each in its own process.

Nothing in a clone is changed. They were written for a GPU and for older libraries, so their
process is told, before their code is imported, that `.cuda()` means to stay where one is, that
ImageNet's weights are random ones (the benchmark's own replace them at once), and that
tensorboardX and CLIP, which only their training and other backbones use, are there.
Reading and resizing of pictures, which their data loaders do in other processes, is not counted.

    python benchmarks/peers.py MODEL CLONE FOLDER THREADS [PACKAGES]
"""

import functools
import importlib
import json
import sys
import time
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from PIL import Image
from programs import PEERS, Peer
from torch import Tensor
from torchvision import models, transforms

from spairc.geometry import squashed
from spairc.types import Size

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet; every peer's
MEGABYTE = 1 << 20


def main() -> None:
    """Serve one official program: a line of JSON in, a line of JSON out."""
    out, sys.stdout = sys.stdout, sys.stderr  # whatever the code prints must not get in between
    name, clone, folder, threads, *packages = sys.argv[1:]
    torch.set_num_threads(int(threads))
    sys.path[0:1] = [clone, *packages]  # in place of this script's own folder
    pretend()
    network = PEERS[name].make()
    PEERS[name].load(network, torch.load(Path(folder, "weights.pth"), weights_only=True))
    network.eval()
    if PEERS[name].part:
        time_part(network, PEERS[name].part)
    pictures = [np.load(path) for path in sorted(Path(folder).glob("picture-*.npy"))]
    asked = json.loads(Path(folder, "pairs.json").read_text())

    def answered(numbers: list[int]) -> list[list[list[float]]]:
        return [_answered(PEERS[name], network, pictures, asked[number]) for number in numbers]

    with torch.inference_mode():
        serve({"pairs": answered}, out)


def serve(
    verbs: Mapping[str, Callable[[list[int]], Any]], out: TextIO, *, at_once: int = 1
) -> None:
    """Do what each line of the input asks; tell what came out, the seconds and the memory.

    The memory is megabytes: what the process held before, and the most that it held meanwhile.

    Args:
        verbs: What can be asked.
        out: Where the answers go; nothing else may be written there.
        at_once: Threads that have a pair each; what they take of a part is told of one clock.
    """
    print("{}", file=out, flush=True)
    for line in sys.stdin:
        verb, numbers = json.loads(line)
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = resident("VmRSS")
        start = time.perf_counter()
        answer = verbs[verb](numbers)
        seconds = time.perf_counter() - start - popped(_uncounted)
        told = {"answer": answer, "seconds": seconds, "part": popped(_in_part) / at_once}
        memory = {"before": before, "peak": resident("VmHWM")}
        print(json.dumps(told | memory), file=out, flush=True)


# Seconds since they were last asked for: in what is not charged, and in what is told by itself.
_uncounted: list[float] = []
_in_part: list[float] = []  # several threads may add to it


def popped(seconds: list[float]) -> float:
    """Return the sum of them, and forget them."""
    total = sum(seconds)
    seconds.clear()
    return total


def time_part(owner: Any, part: str) -> None:
    """Tell apart the seconds in one function of a network or a module."""
    *path, name = part.split(".")
    owner = functools.reduce(getattr, path, owner)
    function = getattr(owner, name)

    def timed(*given: Any, **named: Any) -> Any:
        start = time.perf_counter()
        found = function(*given, **named)
        _in_part.append(time.perf_counter() - start)
        return found

    setattr(owner, name, timed)


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
    both = [pictures[asked[role]] for role in ("source", "target")]
    first, second = (_input(peer, each).unsqueeze(0) for each in both)
    sizes = [Size(*each.shape[1::-1]) for each in both]
    there, back = (peer.input.frame(s) if peer.input else squashed(s, peer.side) for s in sizes)
    # As their data sets do it: float32 points times the ratio of the sides.
    points = torch.tensor(asked["points"]) * torch.tensor(there.scale) + torch.tensor(there.offset)
    _uncounted.append(time.perf_counter() - start)
    found = peer.answer(network, first, second, points.T.unsqueeze(0))
    answer: list[list[float]] = back.to_original(found[0].T.double().numpy()).tolist()
    return answer


def _input(peer: Peer, picture: np.ndarray) -> Tensor:
    """Return what a program's data set makes of a picture, (3, side, side)."""
    if peer.input is not None:
        return torch.from_numpy(peer.input.normalised(picture))
    prepare = transforms.Compose(
        [
            transforms.Resize((peer.side, peer.side)),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    prepared: Tensor = prepare(Image.fromarray(picture))
    return prepared


def pretend() -> None:
    """Make an old program for a GPU run on a CPU and on today's libraries."""
    here = lambda self, *_, **__: self  # noqa: E731 -- one line for both
    torch.Tensor.cuda = here  # type: ignore[method-assign]  # that is the point
    torch.nn.Module.cuda = here  # type: ignore[method-assign]  # as above
    make = models.resnet101
    # The files that these programs knew count no batches.
    counted = make().state_dict().items()
    weights = {key: value for key, value in counted if not key.endswith("num_batches_tracked")}
    torch.hub.load_state_dict_from_url = lambda *_, **__: dict(weights)
    model_zoo: Any = importlib.import_module("torch.utils.model_zoo")
    model_zoo.load_url = torch.hub.load_state_dict_from_url
    models.resnet101 = models.resnet.resnet101 = lambda **_: make()
    for name, inside in (("tensorboardX", "SummaryWriter"), ("clip", "load")):
        module = types.ModuleType(name)
        setattr(module, inside, None)
        sys.modules[name] = module


if __name__ == "__main__":
    main()
