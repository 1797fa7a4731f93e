"""Figures, match pictures and contact sheets into a folder, with one file of captions."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from spairc.files import make_folder, write_text
from spairc.pictures import Pictures
from spairc.report.canvas import save_picture
from spairc.report.figures import draw, save
from spairc.report.figures.material import Material
from spairc.report.hardest import hard_pairs, plate
from spairc.report.sheets import sheet_of_severities, sheet_of_types
from spairc.report.tables import plain
from spairc.spec import VERSION
from spairc.types import CLEAN

WITHOUT_PICTURES = (
    "no match pictures, and no Figures A and B: they need the pictures; give the dataset's "
    "folder: --root FOLDER"
)


def write_figures(
    material: Material, pictures: Sequence[Pictures] | None, folder: Path
) -> dict[str, str]:
    """Write every figure as PDF, SVG and PNG, pictures as PNG, and captions.md; return captions.

    Args:
        material: What figures are drawn from.
        pictures: Those of each run; None for figures alone.
        folder: Where they go.

    Raises:
        BadInput: If the folder cannot be written, or a file of a run is damaged.
    """
    make_folder(folder)
    captions = {}
    for name, drawn in draw(material).items():
        save(drawn.figure, folder, name)
        captions[name] = drawn.caption
    if pictures is not None:
        captions |= _matches(material, pictures, folder)
        captions |= _sheets(material, pictures[0], folder)
    write_text(folder / "captions.md", _listed(captions))
    return captions


def _matches(material: Material, pictures: Sequence[Pictures], folder: Path) -> dict[str, str]:
    """Write the match pictures of each run's hardest pairs; return their captions."""
    captions = {}
    for number, each in enumerate(material.details):
        metric = each.summary.metric
        for rank, hard in enumerate(hard_pairs(each.run, metric), start=1):
            name = f"matches-{number + 1}-{rank}"
            image = plate(each.run, metric, hard, pictures[number])
            save_picture(folder / f"{name}.png", image)
            captions[name] = (
                f"Matches of {each.summary.model}, clean and under {hard.worst}: green discs are "
                f"right, red crosses wrong, a white line leads to the truth. {hard.caption}, "
                f"protocol {each.summary.protocol}; {each.summary.dataset}."
            )
    return captions


def _sheets(material: Material, pictures: Pictures, folder: Path) -> dict[str, str]:
    """Write the paper's Figures A and B of the first picture; return their captions."""
    run = material.details[0].run
    key = run.pairs.image_keys[0]
    image = pictures.read(key, CLEAN)
    save_picture(folder / "figure-a.png", sheet_of_types(image, key))
    save_picture(folder / "figure-b.png", sheet_of_severities(image, key))
    of = f"of {key}, as in the supplement of the paper; {VERSION}"
    return {
        "figure-a": f"Figure A: all corruptions at severity 3 {of}.",
        "figure-b": f"Figure B: all severities of every corruption {of}.",
    }


def _listed(captions: Mapping[str, str]) -> str:
    """Return the captions as Markdown."""
    return "".join(f"* **{name}** - {plain(caption)}\n" for name, caption in captions.items())
