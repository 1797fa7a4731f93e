"""Who may import whom, and what may not be imported at the start."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {
    "spairc": ROOT / "spairc",
    "spairc_models": ROOT / "models" / "spairc_models",
    "matchme_train": ROOT / "matchme_train",
    "spairc_leaderboard": ROOT / "leaderboard" / "spairc_leaderboard",
}
SOURCES = {
    ".".join((package, *file.relative_to(folder).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): file
    for package, folder in FOLDERS.items()
    for file in sorted(folder.rglob("*.py"))
}

# A part may import the parts that are named in its line, each of which stands above it.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "spairc.types": (),
    "spairc.lookup": ("spairc.types",),
    "spairc.spec": ("spairc.types", "spairc.lookup"),
    "spairc.geometry": ("spairc.types",),
    "spairc.files": ("spairc.types",),
    "spairc.images": ("spairc.types", "spairc.files"),
    "spairc.pairs": ("spairc.types", "spairc.files"),
    "spairc.subset": ("spairc.types", "spairc.pairs"),
    "spairc.rescale": ("spairc.types", "spairc.pairs"),
    "spairc.draws": ("spairc.types", "spairc.spec"),
    "spairc.corruptions": (
        "spairc.types",
        "spairc.lookup",
        "spairc.spec",
        "spairc.images",
        "spairc.draws",
    ),
    "spairc.datasets": (
        "spairc.types",
        "spairc.lookup",
        "spairc.files",
        "spairc.images",
        "spairc.pairs",
    ),
    "spairc.unpack": ("spairc.types", "spairc.files"),
    "spairc.download": (
        "spairc.types",
        "spairc.lookup",
        "spairc.files",
        "spairc.unpack",
        "spairc.datasets",
    ),
    "spairc.metrics": ("spairc.types", "spairc.spec", "spairc.pairs"),
    "spairc.protocols": ("spairc.metrics",),
    "spairc.pictures": (
        "spairc.types",
        "spairc.spec",
        "spairc.images",
        "spairc.corruptions",
        "spairc.datasets",
    ),
    "spairc.machine": (),
    "spairc.engine": ("spairc.types", "spairc.machine"),
    "spairc.codecs": ("spairc.types", "spairc.images"),
    "spairc.lock": ("spairc.types", "spairc.files"),
    "spairc.manifest": (
        "spairc.types",
        "spairc.files",
        "spairc.images",
        "spairc.codecs",
        "spairc.corruptions",
        "spairc.engine",
    ),
    "spairc.agreement": ("spairc.types", "spairc.images", "spairc.manifest"),
    "spairc.card": ("spairc.types", "spairc.images", "spairc.codecs", "spairc.manifest"),
    "spairc.workshop": (
        "spairc.types",
        "spairc.files",
        "spairc.lock",
        "spairc.manifest",
        "spairc.card",
    ),
    "spairc.painter": (
        "spairc.types",
        "spairc.spec",
        "spairc.files",
        "spairc.images",
        "spairc.codecs",
        "spairc.corruptions",
        "spairc.engine",
        "spairc.manifest",
    ),
    "spairc.build": (
        "spairc.types",
        "spairc.lookup",
        "spairc.spec",
        "spairc.images",
        "spairc.codecs",
        "spairc.corruptions",
        "spairc.datasets",
        "spairc.pictures",
        "spairc.engine",
        "spairc.manifest",
        "spairc.workshop",
        "spairc.painter",
    ),
    "spairc.breakdowns": ("spairc.types", "spairc.pairs", "spairc.metrics"),
    "spairc.published": (
        "spairc.types",
        "spairc.spec",
        "spairc.pairs",
        "spairc.metrics",
        "spairc.breakdowns",
    ),
    "spairc.statistics": ("spairc.types", "spairc.spec", "spairc.pairs", "spairc.metrics"),
    "spairc.official": (
        "spairc.types",
        "spairc.spec",
        "spairc.images",
        "spairc.datasets",
        "spairc.pictures",
        "spairc.manifest",
        "spairc.build",
    ),
    "spairc.comparison": (
        "spairc.types",
        "spairc.spec",
        "spairc.images",
        "spairc.corruptions",
        "spairc.engine",
        "spairc.manifest",
        "spairc.official",
    ),
    "spairc.corrupt_folder": (
        "spairc.types",
        "spairc.images",
        "spairc.corruptions",
        "spairc.datasets",
        "spairc.engine",
        "spairc.build",
    ),
    "spairc.runs": (
        "spairc.types",
        "spairc.spec",
        "spairc.files",
        "spairc.pairs",
        "spairc.metrics",
    ),
    "spairc.scoring": (
        "spairc.types",
        "spairc.spec",
        "spairc.files",
        "spairc.pairs",
        "spairc.metrics",
        "spairc.protocols",
        "spairc.breakdowns",
        "spairc.runs",
    ),
    "spairc.blocks": (),
    "spairc.units": (
        "spairc.types",
        "spairc.pairs",
        "spairc.rescale",
        "spairc.pictures",
        "spairc.blocks",
    ),
    "spairc.journal": ("spairc.files", "spairc.units"),
    "spairc.evaluate": (
        "spairc.types",
        "spairc.spec",
        "spairc.files",
        "spairc.images",
        "spairc.pairs",
        "spairc.datasets",
        "spairc.engine",
        "spairc.pictures",
        "spairc.protocols",
        "spairc.runs",
        "spairc.scoring",
        "spairc.machine",
        "spairc.units",
        "spairc.journal",
    ),
    "spairc.cost": (
        "spairc.types",
        "spairc.subset",
        "spairc.machine",
        "spairc.blocks",
        "spairc.runs",
        "spairc.units",
        "spairc.evaluate",
    ),
    "spairc.report": (
        "spairc.types",
        "spairc.lookup",
        "spairc.spec",
        "spairc.files",
        "spairc.geometry",
        "spairc.images",
        "spairc.pairs",
        "spairc.corruptions",
        "spairc.datasets",
        "spairc.pictures",
        "spairc.official",
        "spairc.metrics",
        "spairc.protocols",
        "spairc.published",
        "spairc.breakdowns",
        "spairc.statistics",
        "spairc.runs",
        "spairc.scoring",
    ),
    "spairc_models": (
        "spairc.types",
        "spairc.lookup",
        "spairc.geometry",
        "spairc.files",
        "spairc.images",
    ),
    "matchme_train": (
        "spairc.types",
        "spairc.lookup",
        "spairc.files",
        "spairc.images",
        "spairc.geometry",
        "spairc.pairs",
        "spairc.datasets",
        "spairc.subset",
        "spairc.metrics",
        "spairc.protocols",
        "spairc.runs",
        "spairc.spec",
        "spairc.pictures",
        "spairc.machine",
        "spairc.evaluate",
        "spairc_models",
    ),
    "spairc_leaderboard": (
        "spairc.types",
        "spairc.lookup",
        "spairc.spec",
        "spairc.files",
        "spairc.pairs",
        "spairc.metrics",
        "spairc.protocols",
        "spairc.published",
        "spairc.statistics",
        "spairc.runs",
        "spairc.scoring",
        "spairc.report",
    ),
    "spairc.demo": (
        "spairc.types",
        "spairc.spec",
        "spairc.files",
        "spairc.geometry",
        "spairc.images",
        "spairc.datasets",
        "spairc.pictures",
        "spairc.metrics",
        "spairc.protocols",
        "spairc.statistics",
        "spairc.runs",
        "spairc.evaluate",
        "spairc.report",
        "spairc_models",
    ),
    "spairc.reproduce": (
        "spairc.types",
        "spairc.lookup",
        "spairc.spec",
        "spairc.files",
        "spairc.datasets",
        "spairc.metrics",
        "spairc.protocols",
        "spairc.published",
        "spairc.runs",
        "spairc.scoring",
        "spairc.evaluate",
        "spairc.cost",
        "spairc.report",
        "spairc_models",
        "matchme_train",
    ),
    "spairc.catalogue": (
        "spairc.types",
        "spairc.spec",
        "spairc.corruptions",
        "spairc.datasets",
        "spairc.protocols",
        "spairc.report",
        "spairc_models",
    ),
    "spairc.doctor": (
        "spairc.types",
        "spairc.lookup",
        "spairc.files",
        "spairc.datasets",
        "spairc.machine",
        "spairc_models",
    ),
    "spairc.cli": (
        "spairc.types",
        "spairc.lookup",
        "spairc.spec",
        "spairc.files",
        "spairc.images",
        "spairc.subset",
        "spairc.datasets",
        "spairc.download",
        "spairc.pictures",
        "spairc.protocols",
        "spairc.published",
        "spairc.machine",
        "spairc.engine",
        "spairc.manifest",
        "spairc.agreement",
        "spairc.build",
        "spairc.official",
        "spairc.corrupt_folder",
        "spairc.comparison",
        "spairc.statistics",
        "spairc.runs",
        "spairc.scoring",
        "spairc.units",
        "spairc.journal",
        "spairc.evaluate",
        "spairc.cost",
        "spairc.report",
        "spairc_models",
        "matchme_train",
        "spairc_leaderboard",
        "spairc.demo",
        "spairc.reproduce",
        "spairc.catalogue",
        "spairc.doctor",
    ),
}

# Only these may import what is slow to import.
HEAVY: dict[str, tuple[str, ...]] = {
    "torch": ("spairc_models", "matchme_train"),
    "torchvision": ("spairc_models", "matchme_train"),
    "diffusers": ("spairc_models",),
    "transformers": ("spairc_models",),
    "matplotlib": ("spairc.report", "spairc.demo"),
    "pandas": ("spairc.report", "spairc_leaderboard"),
    "huggingface_hub": ("spairc_models", "spairc_leaderboard"),
}


def part_of(module: str) -> str | None:
    """The line of the table that a module falls under."""
    parts = module.split(".")
    names = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((name for name in names if name in MAY_IMPORT), None)


@cache
def imports_of(file: Path) -> tuple[str, ...]:
    """Every module that a file imports, wherever in the file."""

    def found() -> Iterator[str]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file}: imports are absolute"
                yield from (f"{node.module}.{alias.name}" for alias in node.names)

    return tuple(found())


# The package's own __init__ only tells where names live; it is the roof, not a storey.
@pytest.mark.parametrize("module", [name for name in SOURCES if name != "spairc"])
def test_a_module_imports_only_what_the_table_allows(module: str) -> None:
    own = part_of(module)
    assert own in MAY_IMPORT, f"give {module} a line in MAY_IMPORT"
    for imported in imports_of(SOURCES[module]):
        other = part_of(imported)
        if other not in (None, own):
            assert other in MAY_IMPORT[own], f"{own} must not import {imported}"


@pytest.mark.parametrize("module", SOURCES)
def test_heavy_libraries_are_imported_only_where_the_table_says(module: str) -> None:
    for imported in imports_of(SOURCES[module]):
        allowed = HEAVY.get(imported.split(".")[0])
        assert allowed is None or part_of(module) in allowed, f"{module} must not import {imported}"


def test_the_table_has_no_circles_and_no_line_for_what_is_not_there() -> None:
    seen: set[str] = set()
    for part, allowed in MAY_IMPORT.items():
        assert seen.issuperset(allowed), f"{part} may import something below itself"
        seen.add(part)
    assert seen == {part_of(module) for module in SOURCES if module != "spairc"}


@pytest.mark.parametrize("command", ["import spairc", "import spairc.cli", "import spairc_models"])
def test_nothing_heavy_is_imported_at_the_start(command: str) -> None:
    heavy = ("torch", "torchvision", "matplotlib", "pandas", "cv2", "skimage", "pyarrow", "scipy")
    code = f"import sys; {command}; print(sorted(set({heavy!r}) & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_no_folder_of_the_wheel_is_a_package_called_models_or_leaderboard() -> None:
    for folder in ("models", "leaderboard"):
        assert not (ROOT / folder / "__init__.py").exists()


@pytest.mark.parametrize("module", SOURCES)
def test_files_and_functions_stay_short(module: str) -> None:
    text = SOURCES[module].read_text(encoding="utf-8")
    assert text.count("\n") <= 400, f"{module}: more than 400 lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= 50, f"{module}.{node.name}: {length} lines"


@pytest.mark.parametrize("module", SOURCES)
def test_nothing_is_unpickled_and_nothing_catches_everything(module: str) -> None:
    for node in ast.walk(ast.parse(SOURCES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ExceptHandler):
            assert getattr(node.type, "id", "") not in ("", "Exception", "BaseException") or (
                isinstance(node.type, ast.Attribute | ast.Tuple)
            ), f"{module}: line {node.lineno} catches everything"
        if isinstance(node, ast.keyword) and node.arg in ("weights_only", "allow_pickle"):
            value = getattr(node.value, "value", None)
            assert value is (node.arg == "weights_only"), f"{module}: line {node.value.lineno}"
