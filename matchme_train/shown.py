"""What a person is shown of MatchMe's pseudo labels: some pairs of each generation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from matchme_train.checkpoints import RunFolder
from matchme_train.data import UnlabelledPair, WithoutLabels, normalised, square, whole
from matchme_train.labelling import PSEUDO_PAIRS, as_dataset, keyed_pictures
from matchme_train.loop import How
from matchme_train.methods import Student
from matchme_train.stages import PRE_TRAINING, Material, make_stage, stage_names
from spairc.images import read_image
from spairc.pairs import read_pairs
from spairc.types import Image, Points

_LINES = 64  # of a pair: more would hide the pictures


@dataclass(frozen=True, eq=False)
class Labels:
    """What an annotator says of one clean pair, at the cells where it is confident enough."""

    id: str  # of the pair
    first: Image
    second: Image
    given: Points  # (N, 2) the cells' centres, in pixels of the first picture
    found: Points  # (N, 2) in pixels of the second
    confidence: NDArray[np.float32]  # (N,)
    cells: int  # of the first picture, all of them
    threshold: float | None = None  # that the confidence is above

    @property
    def caption(self) -> str:
        """How many cells have a label, and the pair, whose name may be too long to be shown."""
        count = len(self.given)
        share = 100 * count / self.cells
        above = "have a label" if self.threshold is None else f"above {self.threshold:g}"
        return f"{count} of {self.cells} cells {above} ({share:.0f} %): {self.id}"

    @property
    def drawn(self) -> NDArray[np.int64]:
        """The rows to draw, evenly chosen where there are many."""
        count = len(self.given)
        return np.linspace(0, count - 1, min(count, _LINES)).astype(np.int64)


def shown_labels(
    material: Material, folder: RunFolder, how: How, pairs: int = 4
) -> Iterator[tuple[str, list[Labels]]]:
    """Yield the name of each of MatchMe's generations, and what its annotator says of some pairs.

    Of COCR it is the stage that learns its teacher's matches, and the first of these pairs.

    The pairs are the first of the first generation, so that annotators can be compared; they are
    of as many categories as there are.

    Args:
        material: The run's.
        folder: Of the finished run.
        how: The device.
        pairs: How many.
    """
    if material.recipe.cocr is not None:
        yield PRE_TRAINING, _matches(material, folder, pairs)
    if material.recipe.matchme is None:
        return
    chosen: Sequence[UnlabelledPair] = ()
    for number, name in enumerate(stage_names(material.recipe, material.annotator)):
        if not name.startswith("generation"):
            continue
        stage = make_stage(material, number, folder, how)
        if not isinstance(stage.method, Student) or not isinstance(stage.unlabelled, WithoutLabels):
            raise TypeError(f"{name} is no generation of MatchMe")
        chosen = chosen or stage.unlabelled.pairs[:pairs]
        side = material.recipe.network.side
        yield name, [_labels(stage.method, pair, side, how) for pair in chosen]


def _labels(method: Student, pair: UnlabelledPair, side: int, how: How) -> Labels:
    """Return what a student's annotator says of a pair."""
    images = [read_image(path) for path in (pair.first, pair.second)]
    squares = [normalised(square(each, whole(each), side)) for each in images]
    first, second = (each.unsqueeze(0).to(how.device) for each in squares)
    said = method.said(first, second)
    sure = (said.confidence[0] > method.settings.threshold).cpu()
    cells = sure.shape[-1]
    rows, columns = torch.nonzero(sure, as_tuple=True)
    given = torch.stack([columns, rows], dim=1).double().numpy()
    found = said.mapping[0].cpu()[:, sure].T.double().numpy()
    return Labels(
        id=pair.id,
        first=images[0],
        second=images[1],
        given=_in_pixels(given, images[0], cells),
        found=_in_pixels(found, images[1], cells),
        confidence=said.confidence[0].cpu()[sure].numpy(),
        cells=cells * cells,
        threshold=method.settings.threshold,
    )


def _matches(material: Material, folder: RunFolder, count: int) -> list[Labels]:
    """Return the first pairs that COCR's teacher labelled; the best match is the surest."""
    if material.pool is None or material.recipe.cocr is None:
        raise TypeError("COCR has pictures without labels")
    pictures = keyed_pictures(material.pool, material.training)
    pairs = as_dataset(read_pairs(folder.path / PSEUDO_PAIRS), pictures)
    return [
        Labels(
            id=pair.id,
            first=read_image(pairs.path(pair.source)),
            second=read_image(pairs.path(pair.target)),
            given=pair.source_points - 0.5,  # pixels count from their centres there
            found=pair.target_points - 0.5,
            confidence=np.linspace(1, 0, len(pair.source_points), dtype=np.float32),
            cells=material.recipe.cocr.grid**2,
        )
        for pair in pairs[:count]
    ]


def _in_pixels(places: Points, image: Image, cells: int) -> Points:
    """Return places that are told in cells in pixels of the picture, both from their centres."""
    size = np.array(image.shape[1::-1], dtype=np.float64)
    return np.asarray((places + 0.5) * size / cells - 0.5)
