"""What the pages say is what happens: snippets run, commands exist, links lead somewhere."""

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from spairc.cli import main

ROOT = Path(__file__).parents[1]
PAGES = sorted([*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md"), *ROOT.glob("*/README.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of one language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def commands(page: Path) -> list[list[str]]:
    """The words of every line in a shell block that calls spairc."""
    text = "\n".join(blocks(page, "sh")).replace("\\\n", " ")
    lines = [shlex.split(line, comments=True) for line in text.splitlines()]
    return [line for line in lines if line[:1] == ["spairc"]]


def anchor(heading: str) -> str:
    """The anchor that a heading gets where Markdown is shown."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


@pytest.mark.parametrize("name", NAMES)
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(name: str) -> None:
    page = ROOT / name
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith("https://"):
            continue
        path, _, place = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.is_relative_to(ROOT), target
        assert linked.exists(), target
        if place:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert place in [anchor(each) for each in headings], target


@pytest.mark.parametrize("name", NAMES)
def test_every_command_of_a_page_has_the_options_that_it_is_given(name: str) -> None:
    for _, command_name, *arguments in commands(ROOT / name):
        command: click.Command = main.commands[command_name]
        if isinstance(command, click.Group):
            command = command.commands[arguments[0]]
        known = {option for each in command.params for option in each.opts}
        own = arguments[: arguments.index("--")] if "--" in arguments else arguments
        given = {each for each in own if each.startswith("--")}
        assert given <= known, (command_name, given - known)


@pytest.mark.parametrize(
    "name", [name for name, page in zip(NAMES, PAGES, strict=True) if blocks(page, "python")]
)
def test_every_python_block_of_a_page_runs_as_it_stands(name: str, tmp_path: Path) -> None:
    for text in blocks(ROOT / name, "python"):
        compile(text, name, "exec")
        if "from datasets import" in text:  # reads from the Hub, by a library that nobody needs
            continue
        run = subprocess.run(
            [sys.executable, "-c", text], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stderr


def test_the_model_of_ones_own_answers_as_it_stands(tmp_path: Path, tiny_root: Path) -> None:
    import torch
    from torchvision.models import mobilenet_v2

    first, second = blocks(ROOT / "docs" / "own-model.md", "python")
    assert first.count("\n") <= 40
    (tmp_path / "my_matcher.py").write_text(first)
    (tmp_path / "both.py").write_text(second)
    torch.save(mobilenet_v2(weights=None).state_dict(), tmp_path / "weights.pth")
    for model, more in (("my_matcher:Nearest", ["--checkpoint", "weights.pth"]), ("both:Both", [])):
        code = "from spairc.cli import main; main(prog_name='spairc')"
        command = ["eval", "--model", model, "--root", str(tiny_root), "--on", "clean", *more]
        run = subprocess.run(
            [sys.executable, "-P", "-c", code, *command, "--quiet", "--out", model[:4]],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        assert "clean PCK" in run.stdout


def messages() -> list[str]:
    """The texts in the sources of all packages, with NUL for what is filled in."""
    found = []
    folders = ("spairc", "models", "matchme_train", "leaderboard")
    for file in (each for folder in folders for each in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [getattr(each, "value", None) for each in node.values]
                found.append("".join(p if isinstance(p, str) else "\0" for p in parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


def test_every_message_of_the_troubleshooting_page_is_one_that_exists() -> None:
    page = ROOT / "docs" / "troubleshooting.md"
    table = page.read_text(encoding="utf-8").split("## By message")[1].split("\n## ")[0]
    told = re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)
    assert len(told) >= 15
    texts = messages()
    for message in told:
        parts = message.split("...")
        pattern = ".*".join(re.escape(part) for part in parts)
        assert any(re.search(pattern, text) for text in texts), message
