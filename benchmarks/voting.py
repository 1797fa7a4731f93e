"""HPF and SCOT as spairc runs them, beside their own programs: time, memory, answers.

    python benchmarks/voting.py --peer hpf [--peer SCOT]

CLONE is a checkout of juhongm999/hpf or csyanbin/SCOT; which one, its files tell. Both sides get
the same random ResNet-101 and two smooth pictures of 300 x 300, so that neither resizes anything,
and run in processes of their own, one after the other, on one thread. Told are the seconds to
encode a picture and to match a pair that is encoded, the most memory that the process held (the
network's included), and how far the answers lie apart.
"""

import argparse
import importlib
import json
import resource
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from torchvision import models

from spairc.types import Query, Size
from spairc_models import load_model
from spairc_models.preprocessing import Preprocessing
from spairc_models.resnet import ResNet

SIDE, POINTS = 300, 20
TOLD_BY = {"hpf": "model/hpflow.py", "scot": "model/scot_CAM.py"}
LAYERS = {"hpf": "0,8,20,21,26,28,29,30", "scot": "0,19,27,28,29,30"}


def main() -> None:
    """Time both sides of the programs that were named."""
    if sys.argv[1:2] == ["--side"]:
        side(*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", action="append", required=True, type=Path, metavar="CLONE")
    for clone in parser.parse_args().peer:
        names = [name for name, file in TOLD_BY.items() if (clone / file).is_file()]
        if not names:
            sys.exit(f"{clone} has none of {', '.join(TOLD_BY.values())}")
        print(compared(names[0], clone), flush=True)


def compared(name: str, clone: Path) -> str:
    """Return what both sides took and how far they are apart."""
    with tempfile.TemporaryDirectory() as folder:
        torch.save(weights(), Path(folder, "weights.pth"))
        ours, theirs = (started(name, folder, where) for where in ("", str(clone.resolve())))
    apart = np.abs(np.array(ours["answer"]) - np.array(theirs["answer"])).max(axis=1)
    lines = [
        f"{who:9} a picture {took['picture']:7.3f} s, a pair of encoded {took['pair']:7.3f} s, "
        f"at most {took['megabytes']:,.0f} MB"
        for who, took in (("ours", ours), ("official", theirs))
    ]
    ratios = [theirs[each] / ours[each] for each in ("picture", "pair")]
    return "\n".join(
        [
            f"{name}: one thread",
            *(f"  {line}" for line in lines),
            f"  ratios    a picture {ratios[0]:.1f} x, a pair {ratios[1]:.1f} x",
            f"  answers apart by {apart.max():.1e} pixels at most",
        ]
    )


def started(name: str, folder: str, clone: str) -> dict[str, Any]:
    """Return what one side's process tells."""
    command = [sys.executable, __file__, "--side", name, folder, clone]
    done = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE)
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def side(name: str, folder: str, clone: str) -> None:
    """Run one side: encode both pictures, match them, tell what it took."""
    torch.set_num_threads(1)
    encode, match = theirs_of(name, folder, clone) if clone else ours_of(name, folder)
    first, second = (texture(seed) for seed in (1, 2))
    encode(first)  # warms up
    start = time.perf_counter()
    both = [encode(first), encode(second)]
    encoded = time.perf_counter()
    answer = match(*both)
    done = time.perf_counter()
    told = {
        "picture": (encoded - start) / 2,
        "pair": done - encoded,
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "answer": answer.tolist(),
    }
    print(json.dumps(told))


def ours_of(name: str, folder: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return what encodes and what matches here."""
    matcher = load_model(name, checkpoint=str(Path(folder, "weights.pth")), device="cpu")
    size = Size(SIDE, SIDE)

    def match(first: Any, second: Any) -> np.ndarray:
        return matcher.match([Query(first, second, points(), size, size, "car")])[0]

    return lambda picture: matcher.encode([picture])[0], match


def theirs_of(name: str, folder: str, clone: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return what encodes and what matches in a clone; nothing in it is changed.

    Its process is told that `.cuda()` means to stay where one is, that ImageNet's weights are
    those of the benchmark, and that gluoncvth, which only another backbone uses, is there.
    """
    sys.path[0] = clone
    sys.modules["gluoncvth"] = types.ModuleType("gluoncvth")
    torch.Tensor.cuda = lambda self, *_, **__: self  # type: ignore[method-assign]  # the point
    state = torch.load(Path(folder, "weights.pth"), weights_only=True)
    torch.hub.load_state_dict_from_url = lambda *_, **__: state
    there: Any = importlib.import_module(
        "torchvision.models.resnet" if name == "hpf" else "model.resnet"
    )
    there.resnet101 = lambda **_: loaded(models.resnet101(weights=None), state)
    module = importlib.import_module("model.hpflow" if name == "hpf" else "model.scot_CAM")
    geometry = importlib.import_module("model.geometry")
    make = module.HyperpixelFlow if name == "hpf" else module.SCOT_CAM
    extra = () if name == "hpf" else ("",)
    program = make("resnet101", LAYERS[name], "spair", torch.device("cpu"), *extra)
    options = () if name == "hpf" else (0, None, None, "resnet101")
    voted = importlib.import_module("model.rhm" if name == "hpf" else "model.rhm_map").rhm
    settings = () if name == "hpf" else ("OTGeo", 1.0, 1.0, 0.05)

    def encode(picture: np.ndarray) -> Any:
        inputs = torch.from_numpy(Preprocessing(SIDE).normalised(picture))
        with torch.no_grad():
            return program.extract_hyperpixel(inputs, *options)

    def match(first: Any, second: Any) -> np.ndarray:
        with torch.no_grad():
            scores = voted(first, second, program.hsfilter, *settings)
            given = torch.from_numpy(points()).float().T
            found = geometry.predict_kps(first[0], second[0], given, scores)
        return np.asarray(found.T.numpy())

    return encode, match


def loaded(network: Any, state: Mapping[str, torch.Tensor]) -> Any:
    """Return a network with its weights."""
    network.load_state_dict(state)
    return network


def weights() -> dict[str, torch.Tensor]:
    """Return random weights whose normalisations have the statistics of the pictures.

    Without, deep layers would say nothing.
    """
    torch.manual_seed(0)
    network = ResNet().train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the plain mean
    inputs = [Preprocessing(SIDE).normalised(texture(seed)) for seed in (1, 2, 3)]
    with torch.no_grad():
        network(torch.from_numpy(np.stack(inputs)), (33,), rectified=False)
    return network.state_dict()


def texture(seed: int) -> np.ndarray:
    """Return a smooth picture in which no two places look alike, (300, 300, 3) uint8."""
    coarse = np.random.default_rng(seed).integers(0, 256, (11, 13, 3), dtype=np.uint8)
    return np.asarray(
        PIL.Image.fromarray(coarse).resize((SIDE, SIDE), PIL.Image.Resampling.BICUBIC)
    )


def points() -> np.ndarray:
    """Return (20, 2) points in whole pixels."""
    return np.random.default_rng(4).integers(0, SIDE, (POINTS, 2)).astype(np.float64)


if __name__ == "__main__":
    main()
