"""COCR's parts against slow references: one-to-one matches, consistency, saliency, labels."""

from itertools import product
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from matchme_train.cocr import coarser, consistency, one_to_one
from matchme_train.cocr_settings import COCR
from matchme_train.data import UnlabelledPair
from matchme_train.labelling import (
    Teacher,
    as_dataset,
    keyed_pictures,
    label_pairs,
    labels_by,
    most_consistent,
)
from matchme_train.networks import make_network, trunk_of
from matchme_train.saliency import (
    foreground,
    saliency_files,
    saliency_hash,
    saliency_of,
    whole_picture,
)
from matchme_train.sections import Network, Unlabelled
from matchme_train.unlabelled import Pool
from spairc.datasets import load_dataset
from spairc.pairs import read_pairs, write_pairs
from spairc.types import BadInput

NETWORK = Network(
    name="cats", side=64, cells=4, blocks=(1, 1, 1, 1), width=4, layers=(2, 3), weights="random"
)
SETTINGS = COCR(
    grid=4, points=5, pairs=7, rounds=2, share=0.6, unlabelled=Unlabelled(with_labelled=0.5)
)


def literal_matches(
    scores: NDArray[np.float32], first: NDArray[np.bool_], second: NDArray[np.bool_]
) -> list[tuple[int, int]]:
    """Algorithm 1 as it is written: find the highest score, remove both cells, again."""
    left = {
        (row, column): float(scores[row, column])
        for row in range(len(first))
        for column in range(len(second))
        if first[row] and second[column]
    }
    found = []
    while left:
        best = max(left, key=lambda cells: (left[cells], -cells[0], -cells[1]))
        found.append(best)
        left = {
            cells: score
            for cells, score in left.items()
            if cells[0] != best[0] and cells[1] != best[1]
        }
    return found


@pytest.mark.parametrize("most", [None, 3])
@pytest.mark.parametrize("levels", [2, 1000])  # few levels: many scores are equal
@pytest.mark.parametrize("seed", range(4))
def test_matches_are_those_of_the_algorithm_as_it_is_written(
    seed: int, levels: int, most: int | None
) -> None:
    draws = np.random.default_rng(seed)
    scores = draws.integers(0, levels, (9, 14)).astype(np.float32)
    first, second = draws.random(9) < 0.7, draws.random(14) < 0.6
    found = one_to_one(scores, first, second, most)
    assert [tuple(cells) for cells in found.tolist()] == literal_matches(scores, first, second)[
        :most
    ]


def test_where_a_side_has_no_cells_there_are_no_matches() -> None:
    scores = np.ones((3, 4), np.float32)
    assert one_to_one(scores, np.zeros(3, bool), np.ones(4, bool)).shape == (0, 2)


def test_scores_are_averaged_over_the_cells_of_a_coarser_grid() -> None:
    scores = torch.rand(2, 36, 36, generator=torch.Generator().manual_seed(1))
    found = coarser(scores, 3)
    for pair, one, two in ((0, 0, 8), (1, 5, 3), (1, 7, 1)):
        values = [
            float(scores[pair, 6 * row + column, 6 * y + x])
            for row in (2 * (two // 3), 2 * (two // 3) + 1)
            for column in (2 * (two % 3), 2 * (two % 3) + 1)
            for y in (2 * (one // 3), 2 * (one // 3) + 1)
            for x in (2 * (one % 3), 2 * (one % 3) + 1)
        ]
        assert float(found[pair, one, two]) == pytest.approx(np.mean(values), abs=1e-6)
    assert torch.equal(coarser(scores, 6), scores.transpose(1, 2))


def own_places(side: int) -> Tensor:
    steps = torch.arange(side, dtype=torch.float32)
    return torch.stack([steps.expand(side, side), steps.unsqueeze(1).expand(side, side)])


def test_consistency_is_the_share_of_cells_that_come_back() -> None:
    side = 5
    right = own_places(side) + torch.tensor([1.0, 0.0]).view(2, 1, 1)
    left = own_places(side) - torch.tensor([1.0, 0.0]).view(2, 1, 1)
    mask = torch.ones(1, side, side, dtype=torch.bool)
    mask[:, 3:] = False
    # The last column leaves the picture, is read at its edge and comes back one column off.
    found = consistency(right[None], left[None], mask, 0.01)
    assert found.tolist() == pytest.approx([4 / 5])
    assert consistency(right[None], left[None], mask, 0.2).tolist() == [1.0]
    assert consistency(right[None], right[None], mask, 0.3).tolist() == pytest.approx([1 / 5])
    mask[:, :, 2:] = False
    assert consistency(right[None], left[None], mask, 0.01).tolist() == [1.0]


def test_the_way_back_is_read_bilinearly() -> None:
    side, generator = 6, torch.Generator().manual_seed(3)
    there = torch.rand(1, 2, side, side, generator=generator) * (side - 1)
    back = torch.rand(1, 2, side, side, generator=generator) * (side - 1)
    mask = torch.ones(1, side, side, dtype=torch.bool)
    near = 0
    for y in range(side):
        for x in range(side):
            at_x, at_y = (float(value) for value in there[0, :, y, x])
            low_x, low_y = min(int(at_x), side - 2), min(int(at_y), side - 2)
            came = torch.zeros(2)
            for row, column in product((low_y, low_y + 1), (low_x, low_x + 1)):
                share = (1 - abs(at_x - column)) * (1 - abs(at_y - row))
                came += share * back[0, :, row, column]
            near += float(torch.dist(came, torch.tensor([float(x), float(y)]))) <= 0.3 * side
    assert 0 < near < side**2
    assert consistency(there, back, mask, 0.3).tolist() == pytest.approx([near / side**2])


def test_cells_that_reach_the_threshold_are_salient_or_else_the_best_ones() -> None:
    maps = torch.tensor([[[0.1, 0.8], [0.5, 0.2]], [[0.1, 0.2], [0.3, 0.3]], [[0.0] * 2] * 2])
    found = foreground(maps, 2, 0.5)
    assert found.tolist() == [
        [[False, True], [True, False]],
        [[False, False], [True, True]],
        [[True, True], [True, True]],
    ]


def test_feature_saliency_is_the_spread_sum_of_the_trunks_last_features() -> None:
    network = make_network(NETWORK, 1)
    saliency = saliency_of(SETTINGS, network, [])
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    found = saliency([], pictures)
    trunk = trunk_of(network)
    with torch.no_grad():
        features = trunk(pictures, [4], rectified=True)[0].numpy()
    for each, wanted in zip(found.numpy(), features.sum(axis=1), strict=True):
        spread = (wanted - wanted.min()) / (wanted.max() - wanted.min())
        np.testing.assert_allclose(each, spread, atol=1e-5)


def grey(path: Path, values: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(values).save(path)


def test_saliency_pictures_are_found_by_name_and_white_is_salient(
    tmp_path: Path, unlabelled: Path
) -> None:
    pictures = [unlabelled / "car" / "u1.png", unlabelled / "duck" / "u11.png"]
    half = np.zeros((40, 60), np.uint8)
    half[:, 30:] = 255
    grey(tmp_path / "maps" / "car" / "u1.png", half)
    grey(tmp_path / "maps" / "u11.png", half.T)
    maps = COCR(saliency=str(tmp_path / "maps"))
    saliency = saliency_of(maps, make_network(NETWORK, 1), pictures)
    found = foreground(saliency(pictures, torch.zeros(2, 3, 64, 64)), 4, 0.5)
    assert found[0].tolist() == [[False, False, True, True]] * 4
    assert found[1].tolist() == [[False] * 4] * 2 + [[True] * 4] * 2
    before = saliency_hash(maps, pictures)
    grey(tmp_path / "maps" / "u11.png", half.T // 2)
    assert saliency_hash(maps, pictures) != before
    assert saliency_hash(COCR(), pictures) == ""


def test_a_picture_without_its_saliency_is_named_and_one_map_serves_one_picture(
    tmp_path: Path, unlabelled: Path
) -> None:
    first, second = unlabelled / "car" / "u1.png", unlabelled / "duck" / "u1.png"
    grey(tmp_path / "u1.png", np.zeros((40, 60), np.uint8))
    with pytest.raises(BadInput, match=r"has no u2\.png \(nor car/u2\.png\)"):
        saliency_files(tmp_path, [first, unlabelled / "car" / "u2.png"])
    with pytest.raises(BadInput, match=r"u1\.png would be of .*car.* and of .*duck"):
        saliency_files(tmp_path, [first, second])


@pytest.fixture
def pool(unlabelled: Path) -> Pool:
    names = ("car", "duck")
    pictures = {name: tuple(sorted((unlabelled / name).iterdir())) for name in names}
    return Pool(pictures, {}, "")


@pytest.fixture
def teacher() -> Teacher:
    return Teacher(make_network(NETWORK, 5), whole_picture, 64, SETTINGS)


def test_a_category_keeps_the_share_of_its_most_consistent_pictures(
    teacher: Teacher, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def by_name(_: Teacher, pairs: list[UnlabelledPair]) -> list[float]:
        # Each picture is as often first as second: the sum favours the low numbers.
        return [-float(int(p.first.stem[1:]) + int(p.second.stem[1:])) for p in pairs]

    monkeypatch.setattr("matchme_train.labelling._consistencies", by_name)
    kept = most_consistent(teacher, pool, np.random.default_rng(0)).pictures
    stems = {name: [path.stem for path in paths] for name, paths in kept.items()}
    # Of three pictures every one meets both others, so the one with the highest number is worst.
    assert stems == {"car": ["u1", "u2"], "duck": ["u11", "u12"]}


def test_labels_are_centres_of_matched_cells_in_pixels_of_the_pictures(
    teacher: Teacher, pool: Pool
) -> None:
    one, two = pool.pictures["car"][:2]
    pair = UnlabelledPair("000000-x:car", one, two)
    (found,) = label_pairs(teacher, [pair], {one: "a", two: "b"})
    assert (found.id, found.category, found.source, found.target) == (pair.id, "car", "a", "b")
    assert (found.source_size, found.target_size) == ((51, 44), (52, 44))
    assert found.source_box == (0, 0, 51, 44)
    assert len(found.source_points) == 5
    for points, size in (
        (found.source_points, found.source_size),
        (found.target_points, found.target_size),
    ):
        cells = points / np.array(size) * 4 - 0.5
        np.testing.assert_allclose(cells, cells.round(), atol=1e-9)
        assert len({tuple(cell) for cell in cells.round().tolist()}) == 5


def test_labels_depend_on_their_key_alone_and_survive_the_file(
    teacher: Teacher, pool: Pool, training_root: Path, tmp_path: Path
) -> None:
    training = load_dataset("spair71k", training_root, split="trn")
    torch.manual_seed(1)
    table = labels_by(teacher, pool, training, (7, 1))
    torch.manual_seed(2)
    assert labels_by(teacher, pool, training, (7, 1)).hash == table.hash
    assert labels_by(teacher, pool, training, (8, 1)).hash != table.hash
    assert len(table) == SETTINGS.pairs
    write_pairs(tmp_path / "pairs.parquet", table)
    dataset = as_dataset(read_pairs(tmp_path / "pairs.parquet"), keyed_pictures(pool, training))
    assert dataset.table.hash == table.hash
    assert all(dataset.path(key).is_file() for key in table.image_keys)
    kinds = {key.split("/")[0] for key in table.image_keys}
    assert kinds == {"labelled", "unlabelled"}


def test_a_teacher_that_answers_nan_is_refused_and_the_pair_named(
    teacher: Teacher, pool: Pool
) -> None:
    with torch.no_grad():
        teacher.network.get_parameter("decoder.proj.bias").fill_(torch.nan)
    one, two = pool.pictures["car"][:2]
    with pytest.raises(BadInput, match="scores of 000000-x:car are not finite"):
        label_pairs(teacher, [UnlabelledPair("000000-x:car", one, two)], {one: "a", two: "b"})
