"""Functions as machine code: compiled when first used, kept on disk for the next process.

To add one: write a plain function of numbers and arrays, and put `@kernel` above it.
"""

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import numba
from numba.core import event

F = TypeVar("F", bound=Callable[..., Any])

# Neither fastmath nor parallel: the first lets the compiler reorder sums and fuse products into
# them, the second lets threads race; either makes the last bit depend on the machine. Division by
# zero answers as IEEE 754 tells: a check of each divisor would keep loops from being vectorised.


def kernel(function: F) -> F:
    """Return the function compiled; it lets other threads run meanwhile.

    What is compiled is kept beside the source or, where that folder is read-only, in the user's
    cache folder (`NUMBA_CACHE_DIR` chooses another); if neither can be written, in memory only.
    """
    try:
        compiled: F = numba.njit(function, cache=True, nogil=True, error_model="numpy")
    except RuntimeError:  # numba found no folder that it may write to
        _Notice.advice = "; set NUMBA_CACHE_DIR to a folder where they can be kept"
        compiled = numba.njit(function, nogil=True, error_model="numpy")
    return compiled


def inlined(function: F) -> F:
    """Return a function for use inside kernels, each of which gets a copy of it.

    For what is called once a pixel: a call that the compiler sees through too late keeps it from
    working on several pixels at a time.
    """
    compiled: F = numba.njit(function, nogil=True, error_model="numpy", inline="always")
    return compiled


class _Notice(event.Listener):
    """Tells the user, once, why the first picture takes longer: only where kernels are compiled."""

    advice = ""

    def __init__(self) -> None:
        self._told = False

    def on_start(self, event: Any) -> None:
        """Say so when the first of spairc's own functions is compiled."""
        function = event.data["dispatcher"].py_func
        if not self._told and function.__module__.partition(".")[0] == "spairc":
            self._told = True
            print(f"preparing kernels, once{self.advice}", file=sys.stderr)  # noqa: T201 -- no progress bar knows of it

    def on_end(self, event: Any) -> None:
        """Say nothing more."""


event.register("numba:compile", _Notice())  # type: ignore[no-untyped-call]  # numba's
