# noqa: INP001 -- a script beside the page that it writes
"""Draws docs/architecture.svg and writes docs/architecture.md, from the import table.

The table is `MAY_IMPORT` of tests/test_architecture.py. Run this file after changing it:

    python docs/architecture.py
"""

import ast
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "tests" / "test_architecture.py"
PICTURE, PAGE = (Path(__file__).with_name(f"architecture.{each}") for each in ("svg", "md"))
FOLDERS = {"spairc_models": "models", "spairc_leaderboard": "leaderboard"}  # the rest: the root

# What belongs together, in the order from left to right; a part that stands nowhere else is an
# area of its own.
AREAS: dict[str, tuple[str, ...]] = {
    "nouns": ("types", "lookup", "spec", "geometry", "files", "images", "pairs"),
    "datasets": ("datasets", "subset", "rescale", "unpack", "download"),
    "corruptions": ("draws", "corruptions"),
    "machines": ("machine", "engine", "blocks"),
    "metrics": ("metrics", "protocols", "breakdowns", "statistics", "published"),
    "building": (
        *("pictures", "codecs", "lock", "manifest", "agreement", "card", "workshop", "painter"),
        *("build", "official", "comparison", "corrupt_folder"),
    ),
    "evaluation": ("runs", "scoring", "units", "journal", "evaluate", "cost"),
    "commands": ("demo", "reproduce", "catalogue", "doctor", "cli"),
}

WIDTH, LINE, TITLE, GAP, BETWEEN, EDGE = 226, 17, 30, 26, 56, 20  # pixels

Place = tuple[float, float, float]  # left, top and height of a box


def table() -> dict[str, tuple[str, ...]]:
    """Return which parts each part may import, without reading anything but the table."""
    for node in ast.parse(TABLE.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "MAY_IMPORT":
            found: dict[str, tuple[str, ...]] = ast.literal_eval(node.value or ast.Dict([], []))
            return {short(part): tuple(map(short, other)) for part, other in found.items()}
    raise SystemExit(f"{TABLE} has no MAY_IMPORT")


def short(part: str) -> str:
    """Return a part's name as the picture shows it."""
    return part.removeprefix("spairc.")


def areas(may_import: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Return the areas that have parts, and theirs in the table's order."""
    area_of = {part: area for area, parts in AREAS.items() for part in parts}
    found: dict[str, list[str]] = {}
    for part in may_import:
        found.setdefault(area_of.get(part, part), []).append(part)
    order = [*AREAS, *found]
    return {area: tuple(found[area]) for area in sorted(found, key=order.index)}


def arrows(may_import: dict[str, tuple[str, ...]]) -> dict[str, set[str]]:
    """Return which areas each area imports, without those that others of them import anyway."""
    area_of = {part: area for area, parts in areas(may_import).items() for part in parts}
    direct: dict[str, set[str]] = {area: set() for area in areas(may_import)}
    for part, others in may_import.items():
        direct[area_of[part]] |= {area_of[other] for other in others} - {area_of[part]}
    all_of_it = {area: _below(area, direct) for area in direct}
    return {
        area: {each for each in others if not any(each in all_of_it[other] for other in others)}
        for area, others in direct.items()
    }


def _below(area: str, direct: dict[str, set[str]]) -> set[str]:
    """Return all that an area imports by way of others."""
    found: set[str] = set()
    waiting = [*direct[area]]
    while waiting:
        each = waiting.pop()
        if each == area:
            raise SystemExit(f"the areas {area} and {found} import each other: regroup AREAS")
        waiting.extend(direct[each] - found)
        found |= {each}
    return found


def rows(imports: dict[str, set[str]]) -> list[list[str]]:
    """Return the areas in rows, the lowest last; each stands above all that it imports."""
    height: dict[str, int] = {}
    while len(height) < len(imports):
        for area, others in imports.items():
            if area not in height and others <= height.keys():
                height[area] = 1 + max((height[other] for other in others), default=-1)
    levels = range(max(height.values()), -1, -1)
    return [[area for area in imports if height[area] == level] for level in levels]


def picture(may_import: dict[str, tuple[str, ...]]) -> str:
    """Return the picture: a box for each area, and arrows to what it imports."""
    parts, imports = areas(may_import), arrows(may_import)
    levels = rows(imports)
    width = 2 * EDGE + max(map(len, levels)) * (WIDTH + GAP) - GAP
    places: dict[str, Place] = {}
    top = float(EDGE)
    for level in levels:
        left = (width - len(level) * (WIDTH + GAP) + GAP) / 2
        height = max(_height(parts[area]) for area in level)
        for area in level:
            places[area] = (left, top, height)
            left += WIDTH + GAP
        top += height + BETWEEN
    row = {area: number for number, level in enumerate(levels) for area in level}
    lines = [
        _arrow(places[area], places[other], aside=row[other] > row[area] + 1)
        for area in places
        for other in sorted(imports[area])
    ]
    boxes = [_box(area, parts[area], places[area]) for area in places]
    return "\n".join([_head(width, top - BETWEEN + EDGE), *lines, *boxes, "</svg>\n"])


def _head(width: float, height: float) -> str:
    """Return how the picture begins: its size, title, arrow head and ground."""
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}"
 width="{width:.0f}" height="{height:.0f}" font-family="sans-serif" font-size="13">
<title>Which parts import which: arrows point from an area to what it imports</title>
<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8"
 orient="auto"><path d="M0 0L8 4L0 8z" fill="#667"/></marker></defs>
<rect width="{width:.0f}" height="{height:.0f}" fill="#fff"/>"""


def _height(parts: tuple[str, ...]) -> float:
    """Return the height of a box."""
    return TITLE + LINE * -(-len(parts) // 2) + 8 if len(parts) > 1 else TITLE + 8


def _arrow(start: Place, end: Place, *, aside: bool) -> str:
    """Return a line from one box down to another; from its side where it passes others."""
    x, y, target_x, target_y = start[0] + WIDTH / 2, start[1] + start[2], end[0] + WIDTH / 2, end[1]
    if aside:
        outward = WIDTH / 2 if target_x > x else -WIDTH / 2
        x, y = x + outward, start[1] + start[2] / 2
        first = f"{x + outward / 2:.0f} {y:.0f}"
    else:
        first = f"{x:.0f} {(y + target_y) / 2:.0f}"
    second = f"{target_x:.0f} {(y + target_y) / 2:.0f}"
    return (
        f'<path d="M{x:.0f} {y:.0f}C{first} {second} {target_x:.0f} {target_y:.0f}" fill="none" '
        f'stroke="#667" stroke-width="1.4" marker-end="url(#tip)"/>'
    )


def _box(area: str, parts: tuple[str, ...], place: Place) -> str:
    """Return a box with the names of its parts in two columns."""
    left, top, height = place
    rectangle = (
        f'<rect x="{left:.0f}" y="{top:.0f}" width="{WIDTH}" height="{height:.0f}" rx="6" '
        f'fill="#eef3fa" stroke="#456"/>'
    )
    if len(parts) == 1:
        return rectangle + _text(area, left + 12, top + 20, 'font-weight="bold"')
    shown = [rectangle, _text(area, left + 12, top + 20, 'font-weight="bold"')]
    half = -(-len(parts) // 2)
    for number, part in enumerate(parts):
        x, y = left + 12 + (WIDTH - 20) / 2 * (number // half), top + TITLE + 10
        style = 'font-family="monospace" font-size="12"'
        shown.append(_text(part, x, y + LINE * (number % half), style))
    return "".join(shown)


def _text(words: str, x: float, y: float, style: str) -> str:
    """Return words that begin at a place."""
    return f'<text x="{x:.0f}" y="{y:.0f}" {style}>{escape(words)}</text>'


def purpose(part: str) -> str:
    """Return the first line of a part's docstring."""
    top = part if part.startswith(("spairc_", "matchme_")) else f"spairc/{part}"
    base = ROOT / FOLDERS.get(part, "") / top
    file = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
    told = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    return (told or "").splitlines()[0].replace("|", "\\|")


def page(may_import: dict[str, tuple[str, ...]]) -> str:
    """Return the page: the picture, and each part's purpose."""
    told = [
        "# What imports what",
        "",
        "Written by `python docs/architecture.py` from the table in `tests/test_architecture.py`,",
        "which the tests enforce. Arrows point from an area to what it imports; what that imports",
        "in turn it imports, too. Within an area a part imports only what stands before it.",
        "",
        f"![Areas of the code and their imports]({PICTURE.name})",
        "",
        "| area | part | what it is |",
        "|---|---|---|",
    ]
    told += [
        f"| {'' if len(parts) == 1 else area} | `{part}` | {purpose(part)} |"
        for area, parts in areas(may_import).items()
        for part in parts
    ]
    return "\n".join([*told, ""])


if __name__ == "__main__":
    allowed = table()
    PICTURE.write_text(picture(allowed), encoding="utf-8")
    PAGE.write_text(page(allowed), encoding="utf-8")
