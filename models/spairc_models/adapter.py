"""What every torch matcher needs: input, device, precision, batches and the way back to pixels.

To make a matcher of a network, write two functions and hand them to `TorchMatcher`: one turns a
batch of inputs into one features object per picture, one answers queries whose points are in the
network's input. Everything else (resize, frames, device, inference mode, determinism) is here.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, TypeVar

import numpy as np
import torch

from spairc.lookup import lookup
from spairc.types import BadInput, Features, Image, Points, Query
from spairc_models.preprocessing import Preprocessing

Precision: TypeAlias = Literal["float32", "bfloat16"]
Details: TypeAlias = Mapping[str, str | int | float]
T = TypeVar("T")

PRECISIONS: Mapping[str, torch.dtype] = {
    "float32": torch.float32,  # what the published numbers were computed in
    "bfloat16": torch.bfloat16,  # autocast: convolutions and matrix products only
}

# CUDA; a CPU's allocator; cuDNN and cuBLAS.
OUT_OF_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "ALLOC_FAILED")


@dataclass(frozen=True)
class Execution:
    """How a network is run; `execution` makes one from what a user typed."""

    device: torch.device
    precision: Precision = "float32"
    batch_size: int = 1  # pictures in one forward pass
    compiled: bool = False  # pictures are encoded by code that torch.compile made


def execution(
    device: str | None = None, precision: str = "float32", batch_size: int | None = None
) -> Execution:
    """Return how to run a network.

    Args:
        device: "cpu", "cuda", "cuda:1"; None takes CUDA where there is one.
        precision: "float32", or "bfloat16" for autocast.
        batch_size: Pictures in one forward pass; None takes 1 on a CPU, where more gain nothing
            and one makes a picture's features independent of its neighbours, else 8.

    Raises:
        BadInput: If there is no such device or precision, or the batch size is below 1.
    """
    lookup(PRECISIONS, precision, "precision")
    chosen = choose_device(device)
    size = batch_size if batch_size is not None else (1 if chosen.type == "cpu" else 8)
    if size < 1:
        raise BadInput(f"batch size {size}: a forward pass takes at least 1 picture")
    return Execution(chosen, "bfloat16" if precision == "bfloat16" else "float32", size)


def choose_device(name: str | None) -> torch.device:
    """Return the device of this name; for None CUDA where there is one, else the CPU.

    Raises:
        BadInput: If the name is none, or the device is not in this machine.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdecimal()):
        raise BadInput(f"device {name!r}: choose from cpu, cuda, cuda:1 and so on")
    if kind == "cpu":
        return torch.device("cpu")
    count = device_count()
    if int(index or 0) >= count:
        raise BadInput(f"device {name!r}: this machine has {count} CUDA devices; choose cpu")
    return torch.device(name)


def device_count() -> int:
    """Return how many CUDA devices this machine has."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def device_names() -> tuple[str, ...]:
    """Return what the CUDA devices of this machine are called."""
    return tuple(torch.cuda.get_device_name(number) for number in range(device_count()))


@contextmanager
def running(how: Execution) -> Iterator[None]:
    """Hold inference mode, the precision and deterministic kernels while the block runs."""
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        if how.device.type == "cuda":
            # Benchmarking would choose another kernel, hence other last bits, from run to run;
            # TF32 would cost 13 bits of the float32 that was asked for.
            flags = torch.backends.cudnn.flags(
                enabled=True, benchmark=False, deterministic=True, allow_tf32=False
            )
            stack.enter_context(flags)
        if how.precision != "float32":
            stack.enter_context(torch.autocast(how.device.type, dtype=PRECISIONS[how.precision]))
        yield


@contextmanager
def one_thread_each() -> Iterator[int]:
    """Hold torch to one thread per operation while the block runs; yield how many there were.

    Threads that share one picture wait for each other at every layer. They spin while they wait:
    on two cores that others use too, MobileNetV2 took ten times as long as on one thread. And
    sums split in two have other last bits than whole ones.
    """
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield count
    finally:
        torch.set_num_threads(count)


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turn torch's ways of saying that memory ran out into MemoryError, which evaluation answers.

    It asks again for fewer pictures or pairs at a time.
    """
    try:
        yield
    except RuntimeError as error:  # torch.OutOfMemoryError is one
        if any(words in str(error) for words in OUT_OF_MEMORY):
            raise MemoryError(str(error)) from error
        raise


def frozen(network: torch.nn.Module, how: Execution) -> torch.nn.Module:
    """Return the network on its device, in evaluation mode, without gradients."""
    return network.to(how.device).eval().requires_grad_(requires_grad=False)


def as_compiled(
    encode: Callable[[torch.Tensor], T], how: Execution, side: int
) -> Callable[[torch.Tensor], T]:
    """Return what encodes pictures, compiled now if `how` asks for it.

    Compiling takes half a minute for the trunk of CATs and pays for itself in long runs only; the
    last digits of the features become others.

    Args:
        encode: Takes (B, 3, side, side).
        how: Device, precision, batch size.
        side: Pixels.

    Raises:
        BadInput: If code for a CPU is asked for where there is no C++ compiler.
    """
    if not how.compiled:
        return encode
    compilers = [os.environ.get("CXX", ""), "g++", "clang++"]
    if how.device.type == "cpu" and not any(map(shutil.which, filter(None, compilers))):
        raise BadInput("compiled=true needs a C++ compiler: install g++, or leave it out")
    fast: Callable[[torch.Tensor], T] = torch.compile(encode, dynamic=False)
    with running(how):
        fast(torch.zeros(how.batch_size, 3, side, side, device=how.device))
    return fast


def device_memory(how: Execution) -> int | None:
    """Return how many bytes the device has that features live on; None for the machine's own."""
    if how.device.type == "cpu":
        return None
    return int(torch.cuda.get_device_properties(how.device).total_memory)


def encoded(
    images: Sequence[Image],
    preprocessing: Preprocessing,
    how: Execution,
    features: Callable[[torch.Tensor], Sequence[T]],
) -> list[T]:
    """Return what a network has of each picture, in batches formed from their order alone.

    Args:
        images: The pictures.
        preprocessing: Makes the network's input.
        how: Device, precision, batch size.
        features: (B, 3, side, side) -> B features; on a CPU several threads call it at once.
    """

    def batch(some: Sequence[Image]) -> Sequence[T]:
        """Return the features of one batch; inference mode holds for one thread only."""
        inputs = np.stack([preprocessing.normalised(image) for image in some])
        with memory_errors(), running(how):
            return features(torch.from_numpy(inputs).to(how.device))

    groups = list(batches(images, how.batch_size))
    if how.device.type != "cpu":
        return [each for group in groups for each in batch(group)]
    with one_thread_each() as count, ThreadPoolExecutor(count) as pool:
        return [each for found in pool.map(batch, groups) for each in found]


@dataclass(frozen=True, eq=False)
class TorchMatcher:
    """A matcher made of two functions; both run under `running`.

    `find` gets queries whose points are in the source's *frame* (pixels of the network's input)
    and answers in the target's frame, float64 (N, 2) each, one per query. Rounding of given
    points and the readout belong to it; so does staying inside the picture, should it need to
    (the published programs do not clip). Sizes and category in the queries are the originals.

    On a CPU `features` runs in several threads at once, a batch in each: it must not write to
    what they share.
    """

    name: str
    preprocessing: Preprocessing
    how: Execution
    features: Callable[[torch.Tensor], Sequence[Features]]  # (B, 3, side, side) -> B features
    find: Callable[[Sequence[Query]], Sequence[Points]]
    details: Details  # for the run's record; `details_of` makes the common part

    @property
    def memory(self) -> int | None:
        """How many bytes the device has that features live on; None for the machine's own."""
        return device_memory(self.how)

    def encode(self, images: Sequence[Image]) -> list[Features]:
        """Return one features object per picture, in batches formed from their order alone."""
        return encoded(images, self.preprocessing, self.how, self.features)

    def match(self, queries: Sequence[Query]) -> list[Points]:
        """Return, per query, where its points are in the target: (N, 2) original pixels."""
        frame = self.preprocessing.frame
        asked = [
            replace(query, points=frame(query.source_size).from_original(query.points))
            for query in queries
        ]
        with memory_errors(), running(self.how):
            found = self.find(asked)
        return [
            frame(query.target_size).to_original(np.asarray(points, dtype=np.float64))
            for query, points in zip(queries, found, strict=True)
        ]


def details_of(how: Execution, preprocessing: Preprocessing, weights: str) -> dict[str, str | int]:
    """Return what a run's record says of any torch matcher.

    Args:
        how: How the network is run.
        preprocessing: Its input.
        weights: SHA-256 of what was loaded (`Checkpoint.sha256`), or how they were made.
    """
    cuda = how.device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(how.device) if cuda else "cpu",
        "precision": how.precision,
        "batch_size": how.batch_size,
        "side": preprocessing.side,
        "resize": preprocessing.mode,
        "interpolation": preprocessing.interpolation,
        "weights": weights,
        "torch": torch.__version__,
        **({"compiled": "true"} if how.compiled else {}),
    }


def batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield runs of `size` items, in order; the last may be shorter."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
