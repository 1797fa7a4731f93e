"""What HPF and SCOT have in common as matchers: pictures of any shape in, points out.

Both encode a picture as hyperpixels and find, for some cells of the source, the best cell of the
target; they differ in what they make of the cosine similarities.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from spairc.types import Features, Image, Points, Query, Size
from spairc_models.adapter import Details, Execution, memory_errors, one_thread_each, running
from spairc_models.hough import Cells, offset_scores, offset_sums
from spairc_models.hyperpixel import Boxes, Sizing, moved
from spairc_models.hyperpixel_networks import Reader

Given = TypeVar("Given")
Made = TypeVar("Made")


@dataclass(frozen=True, eq=False)
class HyperpixelMatcher:
    """A matcher that reads pictures as hyperpixels; encoding and matching run under `running`."""

    name: str
    sizing: Sizing
    boxes: Boxes
    reader: Reader
    how: Execution
    describe: Callable[[Tensor], Features]  # (1, 3, H, W) normalised -> what `rows` needs
    cells: Callable[[Features], Cells]
    # -> (w1, h2, w2) votes for each row of the first picture's cells, one after another
    rows: Callable[[Features, Features], Iterable[Tensor]]
    voting: bool  # whether votes count by how popular their offset is
    details: Details

    @property
    def memory(self) -> int | None:
        """How many bytes the device has that features live on; None for the machine's own."""
        if self.how.device.type == "cpu":
            return None
        return int(torch.cuda.get_device_properties(self.how.device).total_memory)

    def encode(self, images: Sequence[Image]) -> list[Features]:
        """Return one features object per picture."""
        return self._each(self._encode, images)

    def match(self, queries: Sequence[Query]) -> list[Points]:
        """Return, per query, where its points are in the target: (N, 2) original pixels."""
        return self._each(self._match, queries)

    def _each(self, work: Callable[[Given], Made], given: Sequence[Given]) -> list[Made]:
        """Return what is made of each; on a CPU one thread has a picture or pair of its own."""
        if self.how.device.type != "cpu":
            return [work(each) for each in given]
        with one_thread_each() as count, ThreadPoolExecutor(count) as pool:
            return list(pool.map(work, given))

    def _encode(self, image: Image) -> Features:
        """Return the features of one picture."""
        inner = self.sizing.inner(_size(image))
        values = image.astype(np.float32) / np.float32(255)
        mean, std = (np.array(each, np.float32) for each in (self.reader.mean, self.reader.std))
        normalised = np.ascontiguousarray(((values - mean) / std).transpose(2, 0, 1))
        with memory_errors(), running(self.how):
            picture = torch.from_numpy(normalised)[None].to(self.how.device)
            if inner != _size(image):  # without antialiasing, after the normalisation
                picture = functional.interpolate(picture, inner[::-1], mode="bilinear")
            return self.describe(picture)

    def _match(self, query: Query) -> Points:
        """Return the answer of one query; it depends on nothing else that was asked."""
        ratio = self.sizing.ratio(query.source_size)
        first, second = self.cells(query.source), self.cells(query.target)
        points = (query.points.astype(np.float32) * np.float32(ratio)).astype(np.float64)
        covering = self.boxes.covering(points, first)
        asked = sorted({cell for cells in covering for cell in cells})
        with memory_errors(), running(self.how):
            rows = self.rows(query.source, query.target)
            best = best_cells(rows, asked, first, second, voting=self.voting)
        found = moved(points, covering, dict(zip(asked, best, strict=True)), first, second)
        return found / self.sizing.ratio(query.target_size)


def best_cells(
    rows: Iterable[Tensor], asked: Sequence[int], first: Cells, second: Cells, *, voting: bool
) -> list[int]:
    """Return the second picture's best cell for some of the first's; the first of equal ones.

    Args:
        rows: (w1, h2, w2) votes for each row of the first picture's cells, one after another.
        asked: Cells of the first picture, in ascending order.
        first: The first picture's cells.
        second: The second's.
        voting: Whether votes count by how popular their offset is.
    """
    wanted = [divmod(cell, first.columns) for cell in asked]
    kept: list[Tensor] = []

    def watched() -> Iterable[Tensor]:
        for y, row in enumerate(rows):
            columns = [x for row_asked, x in wanted if row_asked == y]
            if columns:
                kept.append(row[columns])
            yield row

    if not voting:
        for _ in watched():
            pass
        return [int(each.argmax()) for each in torch.cat(kept)]
    sums = offset_sums(watched())
    scores = offset_scores(sums, first, second)
    windows = scores.unfold(0, second.rows, 1).unfold(1, second.columns, 1)
    there = torch.stack([windows[first.rows - 1 - y, first.columns - 1 - x] for y, x in wanted])
    return (torch.cat(kept) * there).flatten(1).argmax(dim=1).tolist()


def _size(image: Image) -> Size:
    """Return the size of a picture."""
    return Size(image.shape[1], image.shape[0])


def network_details(reader: Reader, how: Execution, sizing: Sizing) -> dict[str, str | int | float]:
    """Return what a run's record says of the network and of its input."""
    cuda = how.device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(how.device) if cuda else "cpu",
        "precision": how.precision,
        "network": reader.name,
        "layers": ",".join(reader.layers),
        "longest side": sizing.longest,
        "resize": "keep",
        "interpolation": "bilinear",
        "weights": reader.weights,
        "torch": torch.__version__,
    }
