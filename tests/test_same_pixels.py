"""The same pixels everywhere: committed hashes of all 75 cells of two pictures.

They are what `spair-c/1` is, and never change: a correction is a new version of the spec, with
hashes of its own. Run as a script, this file prints what this machine makes, in the form of
`same_pixels.json`; the tests run it so with processor features switched off, one library at a time.
"""

import importlib
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from skimage import data

from spairc import spec
from spairc.corruptions import corrupt
from spairc.images import pixel_hash
from spairc.types import Condition, Image

HASHES = Path(__file__).with_name("same_pixels.json")
# Name -> rows and columns of a photograph that scikit-image ships as PNG: lossless.
CROPS = {
    "coffee": (slice(100, 220), slice(200, 360)),
    "astronaut": (slice(10, 141), slice(180, 277)),
}
CELLS = [(name, cell) for name in CROPS for cell in spec.CORRUPTED]


def picture(name: str) -> Image:
    return np.ascontiguousarray(getattr(data, name)()[CROPS[name]])


def hash_of(cell: tuple[str, Condition]) -> str:
    name, condition = cell
    found = corrupt(
        picture(name), str(condition.corruption), severity=condition.severity, key=f"any/{name}"
    )
    return pixel_hash(found)


def hashes(threads: int) -> dict[str, dict[str, str]]:
    """What this machine makes; with one thread in order, with more of them in reversed order."""
    cells = CELLS if threads == 1 else CELLS[::-1]
    with ThreadPoolExecutor(threads) as pool:
        found = dict(zip(cells, pool.map(hash_of, cells), strict=True))
    return {name: {str(cell): found[name, cell] for cell in spec.CORRUPTED} for name in CROPS}


def published() -> dict[str, dict[str, str]]:
    answer: dict[str, dict[str, str]] = json.loads(HASHES.read_text())[spec.VERSION]
    return answer


def in_a_process(**settings: str) -> dict[str, dict[str, str]]:
    """What another process makes whose libraries are told so."""
    run = subprocess.run(
        [sys.executable, __file__],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, dict[str, str]] = json.loads(run.stdout)[spec.VERSION]
    return found


def numpy_features() -> str:
    """The processor features that numpy uses here and can do without."""
    umath = importlib.import_module("numpy._core._multiarray_umath")
    enabled = [name for name in umath.__cpu_dispatch__ if umath.__cpu_features__[name]]
    return " ".join(enabled)


@pytest.mark.parametrize("name", CROPS)
def test_the_pictures_are_those_that_the_hashes_were_made_of(name: str) -> None:
    sizes = {"coffee": (120, 160, 3), "astronaut": (131, 97, 3)}
    assert picture(name).shape == sizes[name]
    assert pixel_hash(picture(name)) == json.loads(HASHES.read_text())["pictures"][name]


@pytest.mark.parametrize("threads", [1, 2])
def test_every_cell_has_the_published_pixels(threads: int) -> None:
    assert hashes(threads) == published()


@pytest.mark.parametrize("name", CROPS)
def test_no_two_cells_are_alike(name: str) -> None:
    assert len(set(published()[name].values())) == 75


def test_neither_opencv_nor_scipys_filters_nor_torch_take_part() -> None:
    code = (
        "import sys, numpy; from spairc import CORRUPTIONS, spec, corrupt;"
        "image = numpy.full((40, 53, 3), 90, dtype=numpy.uint8);"
        "[corrupt(image, name, severity=3, key='a') for name in CORRUPTIONS];"
        "print(sorted({'cv2', 'scipy.ndimage', 'skimage', 'torch'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"OPENCV_IPP": "disabled"},
        {"OPENCV_CPU_DISABLE": "AVX512_SKX,AVX2,FMA3,FP16,AVX,SSE4_2"},
        {"NPY_DISABLE_CPU_FEATURES": numpy_features()},
        {"JSIMD_FORCENONE": "1"},
        {"OMP_NUM_THREADS": "2", "NUMBA_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"},
        {"PYTHONHASHSEED": "7", "LC_ALL": "tr_TR.UTF-8", "TZ": "Asia/Kathmandu"},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_a_library_without_its_processor_features_makes_the_same(
    settings: dict[str, str],
) -> None:
    assert in_a_process(**settings) == published()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processor", "features"),
    [("generic", ""), ("x86-64-v3", "+avx2,+fma"), ("x86-64-v4", "+avx512f,+avx512vl,+fma")],
)
def test_kernels_compiled_for_another_processor_make_the_same(
    tmp_path: Path, processor: str, features: str
) -> None:
    import platform

    if processor != "generic" and platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip(f"{processor} is no such machine: {platform.machine()}")
    if "fma" in features and "fma" not in _flags():
        pytest.skip("this processor cannot fuse products and sums")
    if "avx512vl" in features and "avx512vl" not in _flags():
        pytest.skip("this processor has no AVX-512")
    found = in_a_process(
        NUMBA_CPU_NAME=processor, NUMBA_CPU_FEATURES=features, NUMBA_CACHE_DIR=str(tmp_path)
    )
    assert found == published()


def _flags() -> set[str]:
    """The features that the host has, as LLVM names them."""
    from llvmlite import binding

    return {name for name, has in binding.get_host_cpu_features().items() if has}


if __name__ == "__main__":
    made = {
        "pictures": {name: pixel_hash(picture(name)) for name in CROPS},
        spec.VERSION: hashes(1),
    }
    sys.stdout.write(json.dumps(made, indent=1) + "\n")
