"""What the README says is what happens."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from spairc.cli import main
from spairc.protocols import PROTOCOLS

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_ten_lines_print_what_the_readme_says(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", blocks("python")[0]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    told, seen = (
        [line.rsplit("  ", 1) for line in text.splitlines()]
        for text in (blocks("text")[0], run.stdout)
    )
    assert [words for words, _ in seen] == [words for words, _ in told]
    # Descriptors are floating point: on another processor a point or two may fall elsewhere.
    assert [float(score) for _, score in seen] == pytest.approx(
        [float(score) for _, score in told], abs=1.0
    )


def test_the_matcher_of_ones_own_runs_as_it_stands(
    tmp_path: Path, tiny_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "readme_matcher.py").write_text(blocks("python")[1])
    monkeypatch.syspath_prepend(str(tmp_path))
    arguments = ["--root", str(tiny_root), "--on", "clean", "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(main, ["eval", "--model", "readme_matcher:Still", *arguments])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("name", ["paper", "original", "dift", "geoaware-image", "geoaware-point"])
def test_the_table_of_protocols_tells_their_metrics(name: str) -> None:
    assert f"| `{name}` | `{PROTOCOLS[name].metric()}` |" in README
