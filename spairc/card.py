"""The README.md of a built set: what it is, how it was made, what its licence is, whom to cite."""

from collections.abc import Iterable

from spairc.codecs import format_of
from spairc.images import joint_hash
from spairc.manifest import MANIFEST, BuildRecord, Entry
from spairc.types import Condition

_NAMES = {
    "spair71k": ("SPair-C", "SPair-71k"),
    "pf-pascal": ("PF-PASCAL-C", "PF-PASCAL"),
    "pf-willow": ("PF-WILLOW-C", "PF-WILLOW"),
}
_BENCHMARK = """Kim, Heo, Yun, Kim and Han, *Match me if you can: Semi-Supervised Semantic
  Correspondence Learning with Unpaired Images*, ACCV 2024"""
_PAPERS = {
    "spair71k": """Min, Lee, Ponce and Cho, *SPair-71k: A Large-scale Benchmark for Semantic
  Correspondence*, 2019""",
    "pf-pascal": """Ham, Cho, Schmid and Ponce, *Proposal Flow: Semantic Correspondences from
  Object Proposals*, TPAMI 2018""",
    "pf-willow": """Ham, Cho, Schmid and Ponce, *Proposal Flow*, CVPR 2016""",
}
_CORRUPTIONS = (
    """Hendrycks and Dietterich, *Benchmarking Neural Network Robustness to Common Corruptions
  and Perturbations*, ICLR 2019""",
    """Michaelis et al., *Benchmarking Robustness in Object Detection*, 2019""",
)


def card_of(record: BuildRecord, entries: Iterable[Entry]) -> str:
    """Return the text; it depends on what the set holds alone, not on when it was made."""
    listed = list(entries)
    name, dataset = _NAMES.get(record.dataset, (f"{record.dataset}-C", record.dataset))
    return "\n\n".join(
        (
            f"---\nlicense: other\npretty_name: {name}\ntags:\n- robustness\n- corruptions\n---",
            f"# {name}",
            _what(record, listed, dataset),
            _layout(record),
            _made(record, listed),
            _licence(dataset),
            _cite(record, name),
        )
    )


def _what(record: BuildRecord, entries: list[Entry], dataset: str) -> str:
    """Return what the set holds."""
    keys = {entry.key for entry in entries}
    cells = {Condition(entry.corruption, entry.severity) for entry in entries}
    names = {cell.corruption for cell in cells}
    split = f", split {record.split}" if record.split else ""
    return (
        f"{len(keys)} pictures, read as {dataset}{split}, under {len(names)} corruptions: "
        f"{len(cells)} of the 75 cells (15 corruptions x 5 severities), {len(entries)} files. "
        f"Points and boxes of the clean pictures hold for the corrupted ones."
    )


def _layout(record: BuildRecord) -> str:
    """Return how to use it."""
    form = format_of(record.format)
    suffix, own = (form.suffix, form.lossless) if form else ("", False)
    naming = (
        f"The files are named {suffix}, as what they are."
        if record.suffix
        else f"The files keep the names of the annotations, whatever their suffix says: their "
        f"content is {record.format}, which Pillow and OpenCV tell by looking at it."
    )
    loss = "lossless" if own else "**lossy**: results on it are not those on the lossless set"
    return (
        "## Layout\n\n"
        f"`CORRUPTION/SEVERITY/`, such as `fog/3/`, is laid out as {record.dataset} is and can be "
        f"given to a loader in its place. {naming} The format is {loss}."
    )


def _made(record: BuildRecord, entries: list[Entry]) -> str:
    """Return how it was made."""
    sources = joint_hash({entry.key: entry.source for entry in entries})
    packages = ", ".join(sorted({f"spairc {entry.package}" for entry in entries}))
    codecs = ", ".join(sorted({entry.codec for entry in entries}))
    return (
        "## How it was made\n\n"
        f"By `spairc build`, from the definition `{record.spec}`: all random numbers follow from "
        f"version, picture, corruption and severity, so anybody who builds it gets the same "
        f"pixels. `{MANIFEST}` has the hashes of every file and of its pixels; `spairc verify` "
        f"checks them.\n\n"
        f"- specification: `{record.spec}`\n"
        f"- clean pictures (SHA-256 over keys and pixels): `{sources}`\n"
        f"- made by: {packages}\n"
        f"- encoded by: {codecs}"
    )


def _licence(dataset: str) -> str:
    """Return whose rights to mind."""
    return (
        "## Licence\n\n"
        f"The pictures are derived ones: the terms of what they were made from ({dataset}), and of "
        f"the photographs in it, hold for them. Frost is blended from the textures of the "
        f"imagecorruptions package (Apache-2.0)."
    )


def _cite(record: BuildRecord, name: str) -> str:
    """Return whom to cite."""
    papers = (_BENCHMARK, _PAPERS.get(record.dataset), *_CORRUPTIONS)
    listed = "\n".join(f"- {paper}" for paper in papers if paper)
    return f"## To cite\n\n{name} made by this program is `{record.spec}`.\n\n{listed}\n"
