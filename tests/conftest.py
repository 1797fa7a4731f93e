"""What several test files need: the shared folder of real pictures, where there is one."""

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of goldens, real pictures and weights that stands beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared (goldens, real pictures, weights), which is not here")
    return SHARED
