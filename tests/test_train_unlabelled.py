"""Pictures without labels: what is found, what is left out, how they are balanced and paired."""

import io
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from matchme_train.sections import Unlabelled
from matchme_train.unlabelled import (
    Pool,
    balanced,
    draw_pairs,
    find_pool,
    perceptual_hash,
    pictures_by_category,
)
from spairc.datasets import load_dataset
from spairc.datasets.dataset import Dataset
from spairc.images import read_image
from spairc.types import BadInput, Image


def picture(number: int, width: int = 90, height: int = 70) -> Image:
    draws = np.random.default_rng(100 + number)
    coarse = PIL.Image.fromarray(draws.integers(0, 256, (9, 11, 3)).astype(np.uint8))
    return np.asarray(coarse.resize((width, height), PIL.Image.Resampling.BICUBIC))


def write(path: Path, image: Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(image).save(path)


@pytest.fixture
def dataset(tiny_root: Path) -> Dataset:
    return load_dataset("spair71k", tiny_root)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(7):
        name = "car" if number < 4 else "duck"
        write(tmp_path / "more" / name / f"n{number}.png", picture(number))
    return tmp_path / "more"


CATEGORIES = ("car", "duck")


def test_folders_named_as_categories_are_found_and_others_left_out(
    folder: Path, dataset: Dataset
) -> None:
    write(folder / "sofa" / "s.png", picture(50))
    (folder / "car" / "notes.txt").write_text("no picture")
    pool = find_pool(folder, CATEGORIES, [dataset], Unlabelled())
    assert {name: len(paths) for name, paths in pool.pictures.items()} == {"car": 4, "duck": 3}
    assert pool.counts["found"] == pool.counts["kept"] == 7
    assert "7 kept" in pool.report()


def test_held_out_pictures_are_excluded_by_name_by_pixels_and_by_look(
    folder: Path, dataset: Dataset
) -> None:
    held = read_image(dataset.path("duck/d"))
    write(folder / "car" / "a.png", picture(60))  # the name of a held-out picture
    write(folder / "duck" / "renamed.png", held)
    smaller = PIL.Image.fromarray(held).resize((33, 50), PIL.Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    smaller.save(buffer, "JPEG", quality=85)
    (folder / "duck" / "saved-again.jpg").write_bytes(buffer.getvalue())
    pool = find_pool(folder, CATEGORIES, [dataset], Unlabelled())
    assert pool.counts == {
        "found": 10,
        "several_categories": 0,
        "named": 1,
        "same_pixels": 1,
        "alike": 1,
        "kept": 7,
    }
    names = {path.name for paths in pool.pictures.values() for path in paths}
    assert not names & {"a.png", "renamed.png", "saved-again.jpg"}


def test_no_bits_to_differ_in_means_only_the_same_look_is_excluded(
    folder: Path, dataset: Dataset
) -> None:
    noisy = read_image(dataset.path("duck/d")).astype(int)
    noisy += np.random.default_rng(0).integers(-6, 7, noisy.shape)
    write(folder / "duck" / "noisy.png", noisy.clip(0, 255).astype(np.uint8))
    strict, loose = (
        find_pool(folder, CATEGORIES, [dataset], Unlabelled(hash_bits=bits)) for bits in (0, 24)
    )
    assert (strict.counts["alike"], loose.counts["alike"]) == (0, 1)


def test_copies_look_alike_and_others_do_not(shared: Path) -> None:
    paths = sorted((shared / "data" / "VOC2012-unlabelled").glob("*.jpg"))[:30]
    images = [read_image(path) for path in paths]
    hashes = np.array([perceptual_hash(image) for image in images])
    apart = (hashes[:, None] != hashes[None]).sum(axis=2) + 256 * np.eye(len(paths), dtype=int)
    assert apart.min() > Unlabelled().hash_bits
    for image, known in zip(images, hashes, strict=True):
        height, width = image.shape[:2]
        small = PIL.Image.fromarray(image).resize((width // 2, height // 2))
        found = perceptual_hash(np.asarray(small))
        assert int((found != known).sum()) <= Unlabelled().hash_bits


def test_too_few_pictures_of_a_category_are_told_by_name(folder: Path, dataset: Dataset) -> None:
    with pytest.raises(BadInput, match="too few pictures of duck 3; every category needs 4"):
        find_pool(folder, CATEGORIES, [dataset], Unlabelled(fewest=4))
    shutil.rmtree(folder / "car")
    with pytest.raises(BadInput, match="too few pictures of car 0"):
        find_pool(folder, CATEGORIES, [dataset], Unlabelled())


def test_a_folder_of_neither_kind_is_refused(tmp_path: Path, dataset: Dataset) -> None:
    with pytest.raises(BadInput, match="neither PASCAL VOC"):
        find_pool(tmp_path / "nothing", CATEGORIES, [dataset], Unlabelled())


def test_vocs_lists_tell_the_category_and_single_ones_come_first(
    tmp_path: Path, dataset: Dataset
) -> None:
    root = tmp_path / "VOCdevkit" / "VOC2012"
    lists = root / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    for number in range(5):
        write(root / "JPEGImages" / f"v{number}.jpg", picture(number))
    marks = {"car": (1, 1, 1, -1, 0), "duck": (-1, 1, -1, 1, 1)}
    for name, row in marks.items():
        lines = [f"v{number} {mark:2d}" for number, mark in enumerate(row)]
        (lists / f"{name}_trainval.txt").write_text("\n".join(lines) + "\n")
    pool = find_pool(tmp_path, CATEGORIES, [dataset], Unlabelled())
    stems = {name: [path.stem for path in paths] for name, paths in pool.pictures.items()}
    assert stems == {"car": ["v0", "v2"], "duck": ["v3", "v4"]}
    assert pool.counts["several_categories"] == 1
    (lists / "duck_trainval.txt").unlink()
    with pytest.raises(BadInput, match=r"duck_trainval\.txt is missing"):
        find_pool(tmp_path, CATEGORIES, [dataset], Unlabelled())


def pool_of(*sizes: int) -> Pool:
    pictures = {
        name: tuple(Path(f"{name}{number}.png") for number in range(size))
        for name, size in zip(CATEGORIES, sizes, strict=True)
    }
    return Pool(pictures, {}, "")


def test_the_smallest_category_sets_the_number_for_all() -> None:
    chosen = balanced(pool_of(9, 4), "fewest", np.random.default_rng(0))
    assert {name: len(set(paths)) for name, paths in chosen.items()} == {"car": 4, "duck": 4}
    other = balanced(pool_of(9, 4), "fewest", np.random.default_rng(1))
    assert set(other["car"]) != set(chosen["car"])


def test_oversampling_repeats_the_smaller_ones() -> None:
    chosen = balanced(pool_of(9, 4), "oversample", np.random.default_rng(0))
    times = Counter(chosen["duck"])
    assert len(chosen["car"]) == len(set(chosen["car"])) == len(chosen["duck"]) == 9
    assert set(times.values()) == {2, 3}
    with pytest.raises(BadInput, match=r"unlabelled\.balance is 'most'"):
        balanced(pool_of(9, 4), "most", np.random.default_rng(0))


def drawn(dataset: Dataset, seed: int, share: float, count: int = 60) -> list[tuple[Path, Path]]:
    draws = np.random.default_rng(seed)
    pairs = draw_pairs(pool_of(6, 5), dataset, Unlabelled(with_labelled=share), count, draws)
    assert len({pair.id for pair in pairs}) == count
    return [(pair.first, pair.second) for pair in pairs]


def test_pairs_are_another_list_for_another_seed_and_the_same_for_the_same(
    dataset: Dataset,
) -> None:
    assert drawn(dataset, 3, 0.5) == drawn(dataset, 3, 0.5)
    assert drawn(dataset, 3, 0.5) != drawn(dataset, 4, 0.5)


@pytest.mark.parametrize(("share", "low", "high"), [(0.0, 0, 0), (0.5, 20, 40), (1.0, 60, 60)])
def test_the_share_of_pairs_with_a_labelled_picture_is_as_told(
    dataset: Dataset, share: float, low: int, high: int
) -> None:
    known = {path for paths in pictures_by_category(dataset).values() for path in paths}
    pairs = drawn(dataset, 1, share)
    with_labelled = [pair for pair in pairs if set(pair) & known]
    assert low <= len(with_labelled) <= high
    assert all(len(set(pair) & known) <= 1 for pair in pairs)
    if share == 1:
        firsts = sum(pair[0] in known for pair in pairs)
        assert 15 < firsts < 45


@pytest.mark.parametrize(("share", "low", "high"), [(0.0, 0, 0), (0.5, 20, 40), (1.0, 60, 60)])
def test_some_pairs_may_be_of_two_labelled_pictures_that_no_labelled_pair_joins(
    training_root: Path, share: float, low: int, high: int
) -> None:
    labelled = load_dataset("spair71k", training_root, split="trn")
    known = {path for paths in pictures_by_category(labelled).values() for path in paths}
    settings, draws = Unlabelled(both_labelled=share), np.random.default_rng(1)
    pairs = draw_pairs(pool_of(6, 5), labelled, settings, 60, draws)
    ends = [{pair.first, pair.second} for pair in pairs]
    names = [sorted(path.stem for path in each) for each in ends if each <= known]
    assert low <= len(names) <= high
    # Of each category's three pictures the first is joined to both others.
    assert all(each in (["trn1001", "trn1002"], ["trn1051", "trn1052"]) for each in names)
    assert all(len(each) == 2 for each in ends)


def test_both_pictures_of_a_pair_are_of_one_category_and_categories_take_turns(
    dataset: Dataset,
) -> None:
    ours = pictures_by_category(dataset)

    def category(path: Path) -> str:
        return next(name for name in CATEGORIES if path.name.startswith(name) or path in ours[name])

    pairs = drawn(dataset, 2, 0.5)
    assert [category(one) for one, _ in pairs] == ["car", "duck"] * 30
    assert all(category(one) == category(two) and one != two for one, two in pairs)


def test_pictures_are_used_up_before_any_comes_again(dataset: Dataset) -> None:
    pairs = drawn(dataset, 5, 1.0, count=20)  # of each category five of its balanced five, twice
    known = {path for paths in pictures_by_category(dataset).values() for path in paths}
    times = Counter(next(iter(set(pair) - known)) for pair in pairs)
    assert set(times.values()) == {2}
    assert len(times) == 10
