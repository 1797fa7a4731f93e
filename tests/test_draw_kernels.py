"""Kernels: compiled once, kept where that is allowed, and not loaded before they are needed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import spairc

PACKAGE = Path(spairc.__file__).parent
# One kernel: compiling all takes longer.
DRAW = "from spairc.draws import philox; print(hex(philox.words(bytes(8), 0, 1, 0)[0]))"


def drawn(**settings: str) -> subprocess.CompletedProcess[str]:
    """Draw one word in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", DRAW],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=True,
    )


def installed_where_nothing_can_be_written(folder: Path) -> dict[str, str]:
    """A copy of the package; a file stands where numba would make its folder."""
    for part in ("types.py", "lookup.py", "spec.py", "draws", "__init__.py"):
        source, target = PACKAGE / part, folder / "spairc" / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    (folder / "spairc" / "draws" / "__pycache__").write_text("in the way")
    return {"PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.mark.parametrize("command", ["import spairc", "import spairc.cli", "import spairc.spec"])
def test_no_compiler_is_loaded_at_the_start(command: str) -> None:
    code = f"import sys; {command}; print(sorted({{'numba', 'llvmlite'}} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_user_is_told_once_that_kernels_are_prepared_and_then_never_again(
    tmp_path: Path,
) -> None:
    first, second = (drawn(NUMBA_CACHE_DIR=str(tmp_path)) for _ in range(2))
    assert first.stderr == "preparing kernels, once\n"
    assert second.stderr == ""
    assert first.stdout == second.stdout == "0x6627e8d5\n"


def test_in_a_folder_that_cannot_be_written_kernels_are_kept_in_the_users_cache(
    tmp_path: Path,
) -> None:
    settings = installed_where_nothing_can_be_written(tmp_path / "site")
    settings |= {"XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path)}
    first, second = drawn(**settings), drawn(**settings)
    assert first.stderr == "preparing kernels, once\n"
    assert second.stderr == ""
    assert second.stdout == "0x6627e8d5\n"


def test_where_nothing_can_be_kept_kernels_still_work_and_the_remedy_is_told(
    tmp_path: Path,
) -> None:
    nowhere = tmp_path / "nowhere"
    nowhere.write_text("in the way")
    settings = installed_where_nothing_can_be_written(tmp_path / "site")
    settings |= {"XDG_CACHE_HOME": str(nowhere), "HOME": str(nowhere)}
    for _ in range(2):
        run = drawn(**settings)
        assert run.stderr == (
            "preparing kernels, once; set NUMBA_CACHE_DIR to a folder where they can be kept\n"
        )
        assert run.stdout == "0x6627e8d5\n"


def test_other_peoples_kernels_are_not_announced() -> None:
    code = "import numba; from spairc.draws import compiled; numba.njit(lambda: 1)()"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stderr == ""
