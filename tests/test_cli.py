"""The command line: every command does its job, every wrong input is one line and exit code 2."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from spairc import published
from spairc.cli import main
from spairc.images import read_image
from spairc.runs import open_run
from spairc.spec import CORRUPTION_NAMES
from spairc_models import MODELS


def spairc(*arguments: object) -> Result:
    """Run a command in this process; a traceback is a failure of the test."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def refused(*arguments: object) -> str:
    """Run a command that must end with one line and exit code 2; return the line."""
    result = spairc(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1
    assert result.stderr.strip().endswith(lines[0])
    return lines[0].removeprefix("Error: ")


@pytest.fixture
def annotation(tiny_root: Path) -> Path:
    """The first pair's annotation."""
    return tiny_root / "PairAnnotation" / "test" / "000000-a-b:car.json"


def test_eval_prints_the_table_and_keeps_the_run(tiny_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = spairc(
        *("eval", "--model", "sift", "--root", tiny_root, "--on", "clean"),
        *("--on", "fog@3", "--out", out),
    )
    assert result.exit_code == 0, result.output
    assert "sift: PCK@0.1 (box, per image, square), protocol paper" in result.output
    assert "74 of 76 conditions are missing" in result.output
    assert f"run folder: {out}" in result.output
    assert list(map(str, open_run(out).conditions)) == ["clean", "fog@3"]


def test_eval_compares_with_the_reported_number_on_the_official_pairs_only(
    tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hog = replace(MODELS["hog"], reported={"spair71k": 12.3})
    monkeypatch.setitem(MODELS, "hog", hog)
    command = (
        "eval",
        "--model",
        "hog",
        "--root",
        tiny_root,
        "--on",
        "clean",
        "--out",
        tmp_path / "r",
    )
    assert "reported" not in spairc(*command).output
    monkeypatch.setattr(published, "is_official_test_list", lambda _: True)
    assert "clean PCK: reported 12.3, measured " in spairc(*command).output
    assert "reported" not in spairc(*command, "--protocol", "original").output


def test_eval_from_a_built_folder_gives_the_same_predictions(
    tiny_root: Path, tmp_path: Path
) -> None:
    built = tmp_path / "built"
    assert spairc("build", "--root", tiny_root, "--out", built, "--on", "blur@2").exit_code == 0
    common = ("eval", "--model", "hog", "--root", tiny_root, "--on", "blur@2", "--out")
    assert spairc(*common, tmp_path / "memory").exit_code == 0
    assert spairc(*common, tmp_path / "folder", "--corrupted", built).exit_code == 0
    for name in ("defocus_blur@2", "gaussian_blur@2"):
        files = [tmp_path / side / f"predictions/{name}.parquet" for side in ("memory", "folder")]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_build_then_verify_then_a_changed_byte(tiny_root: Path, tmp_path: Path) -> None:
    built = tmp_path / "built"
    assert spairc("build", "--root", tiny_root, "--out", built, "--on", "fog@1").exit_code == 0
    assert "all files as built" in spairc("verify", built).output
    path = built / "fog/1/JPEGImages/duck/d.jpg"
    path.write_bytes(path.read_bytes() + b"\0")
    result = spairc("verify", built)
    assert result.exit_code == 1
    assert result.output.splitlines()[0] == "changed: fog/1/JPEGImages/duck/d.jpg"


def test_report_compares_runs_and_writes_tables(tiny_root: Path, tmp_path: Path) -> None:
    for name in ("sift", "hog"):
        spairc(
            *("eval", "--model", name, "--root", tiny_root, "--on", "clean"),
            *("--on", "snow", "--out", tmp_path / name),
        )
    result = spairc("report", tmp_path / "sift", tmp_path / "hog", "--protocol", "original")
    assert result.exit_code == 0, result.output
    assert "hog: PCK@0.1 (box, per image, original), protocol original" in result.output
    text = (tmp_path / "sift" / "report" / "table4.md").read_text()
    assert "| 1 | sift |" in text
    assert "| Average | hog |" in text


def test_show_draws_two_sheets(tiny_root: Path, tmp_path: Path) -> None:
    picture = tiny_root / "JPEGImages" / "car" / "a.jpg"
    result = spairc("show", picture, "--out", tmp_path / "sheet.png", "--corruption", "fog")
    assert result.exit_code == 0, result.output
    types, severities = (
        read_image(tmp_path / name) for name in ("sheet.png", "sheet-severities.png")
    )
    assert types.size > severities.size > 0


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("corruptions", CORRUPTION_NAMES),
        ("datasets", ("spair71k", "pf-pascal", "pf-willow")),
        ("protocols", ("paper", "original", "dift")),
        ("models", ("sift", "hog", "daisy", "torchvision:", "timm:")),
    ],
)
def test_list_names_everything_there_is(kind: str, names: tuple[str, ...]) -> None:
    result = spairc("list", kind)
    assert result.exit_code == 0
    for name in names:
        assert any(line.split()[0].startswith(name) for line in result.output.splitlines() if line)


def test_a_matcher_of_ones_own_is_found_by_its_import_path(
    tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_matcher.py").write_text(
        "class Still:\n"
        "    name = 'still'\n"
        "    def encode(self, images):\n"
        "        return [None for _ in images]\n"
        "    def match(self, queries):\n"
        "        return [query.points for query in queries]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    result = spairc(
        *("eval", "--model", "my_matcher:Still", "--root", tiny_root, "--on", "clean"),
        *("--out", tmp_path / "run"),
    )
    assert result.exit_code == 0, result.output
    assert open_run(tmp_path / "run").settings.model == "still"


def test_eval_says_what_it_will_cost_and_keeps_to_a_budget(tiny_root: Path, tmp_path: Path) -> None:
    common = ("eval", "--model", "hog", "--root", tiny_root, "--on", "clean", "--out")
    result = spairc(*common, tmp_path / "whole", "--budget", "9h")
    assert result.exit_code == 0, result.output
    assert "to do: 2 units, 5 pictures, 8 pairs: about 0 s" in result.stderr
    assert "in 9 h 0 min: 8 of 8 pairs, the same as --share 1\n" in result.stderr
    assert "expect 95 % intervals of about +-" in result.stderr
    assert "are a part of the list" not in result.output
    assert "clean                PCK@0.1 (box, per image, square)" in result.stderr  # as it goes
    assert "2 units in " in result.output
    assert "of it for pictures; energy: " in result.output
    shared = spairc(*common, tmp_path / "half", "--share", "0.5")
    assert shared.exit_code == 0, shared.output
    assert "6 pairs are a part of the list; how far off that may be, the" in shared.output
    assert len(open_run(tmp_path / "half").pairs) == 6


EVAL = ("eval", "--model", "sift", "--on", "clean")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*EVAL, "--root", "{root}", "--on", "fog@6"), "severity 6 does not exist"),
        ((*EVAL, "--root", "{root}", "--on", "fgo@3"), "no corruption is called 'fgo'; did you"),
        ((*EVAL, "--root", "{root}", "--split", "tst"), "no spair71k split is called 'tst'; did"),
        ((*EVAL, "--root", "{root}", "--layout", "huge"), "no spair71k layout is called 'huge'"),
        ((*EVAL, "--root", "{root}", "--dataset", "spair"), "no dataset is called 'spair'"),
        ((*EVAL, "--root", "{root}/none"), "{root}/none"),
        ((*EVAL, "--root", "{root}", "--corrupt", "left"), "side is 'left'; choose from both"),
        ((*EVAL, "--root", "{root}", "--protocol", "papr"), "no protocol is called 'papr'; did"),
        ((*EVAL, "--root", "{root}", "--limit", "1"), "--limit 1 is too few"),
        ((*EVAL, "--root", "{root}", "--share", "1.5"), "share 1.5 of the pairs: give a number"),
        ((*EVAL, "--root", "{root}", "--budget", "soon"), "duration 'soon': write 90s, 30m or 2h"),
        ((*EVAL, "--root", "{root}", "--baseline", "none"), "none is no run folder"),
        ((*EVAL, "--root", "{root}", "--corrupted", "none"), "none is no built set"),
        (("eval", "--root", "{root}", "--model", "sfit"), "no model is called 'sfit'; did you"),
        (("eval", "--root", "{root}", "--model", "a.b:C"), "no module called 'a'"),
        (("build", "--root", "{root}", "--on", "fog@9"), "severity 9 does not exist"),
        (("build", "--root", "{root}/none"), "{root}/none"),
        (("verify", "{root}"), "{root} is no built set"),
        (("report", "{root}"), "{root} is no run folder"),
        (("show", "{root}/none.jpg"), "none.jpg is missing"),
        (("show", "{root}/JPEGImages/car/a.jpg", "--severity", "6"), "severity 6 does not exist"),
        (("show", "{root}/JPEGImages/car/a.jpg", "--corruption", "x"), "no corruption is called"),
        (("show", "{root}/JPEGImages/car/a.jpg", "--out", "a.xyz"), "xyz"),
        (("download", "spiar71k"), "no dataset is called 'spiar71k'"),
    ],
)
def test_wrong_input_is_one_line_and_nothing_is_written(
    tiny_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    line = refused(*(argument.format(root=tiny_root) for argument in arguments))
    assert message.format(root=tiny_root) in line
    assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"src_kps": [[float("nan"), 9]]}, "000000-a-b:car.json"),
        ({"src_kps": [[8, 9], [30, 11]]}, "000000-a-b:car.json"),
        ({"src_kps": [[8, 999]]}, "is not in its picture"),
        ({"src_imname": "../../x.jpg"}, "../../x"),
        ({"src_imname": "nowhere.jpg"}, "nowhere"),
    ],
)
def test_a_wrong_annotation_is_named_and_nothing_is_written(
    annotation: Path, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    annotation.write_text(json.dumps(json.loads(annotation.read_text()) | changes))
    root = annotation.parents[2]
    line = refused(*EVAL, "--root", root, "--out", tmp_path / "run")
    assert message in line
    assert not (tmp_path / "run").exists()


def test_points_outside_their_own_box_are_kept(annotation: Path, tmp_path: Path) -> None:
    wide = json.loads(annotation.read_text()) | {"src_bndbox": [20, 20, 61, 40]}
    annotation.write_text(json.dumps(wide))
    result = spairc(*EVAL, "--root", annotation.parents[2], "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("command", [(), ("eval",), ("build",), ("report",), ("show",), ("demo",)])
def test_every_command_has_help_that_fits_a_terminal(command: tuple[str, ...]) -> None:
    result = spairc(*command, "--help")
    assert result.exit_code == 0
    assert all(len(line) <= 80 for line in result.output.splitlines())
    assert "..." not in result.output.replace("[ARGS]...", "").replace("[RUN ...]", "")
