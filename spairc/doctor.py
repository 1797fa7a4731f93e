"""What of spairc's needs this machine has, and what to do about what it lacks: `spairc doctor`."""

import os
import platform
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal, TypeAlias

from packaging.requirements import Requirement

from spairc.datasets import DATASETS, load_dataset
from spairc.files import cache_folder, make_folder
from spairc.lookup import lookup
from spairc.machine import cores, memory
from spairc.types import BadInput
from spairc_models.adapter import device_names
from spairc_models.recorded import registered, registered_names

State: TypeAlias = Literal["ok", "absent", "wrong"]

_BROWSERS = ("chromium", "google-chrome", "chrome", "firefox", "safari", "msedge")
_EXTRAS = {  # extra of pyproject.toml -> what it is for
    "diffusion": "--model dift and its like",
    "ray": "--engine ray",
    "tensorboard": "spairc train --tensorboard",
    "timm": "--model timm:NAME",
}
_ROOM = 15_000_000_000  # bytes: SPair-C as PNG files took 10.6 GB at a rehearsal's full size


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for."""

    what: str
    state: State  # absent: some commands do without; wrong: spairc needs it
    told: str
    advice: str = ""  # what to do; none where nothing need be done


def examine(root: Path | None = None, dataset: str = "spair71k") -> list[Finding]:
    """Return what was looked for, in the order in which a run needs it.

    Args:
        root: The dataset's folder; None if the user named none.
        dataset: Its kind.

    Raises:
        BadInput: If there is no such kind of dataset.
    """
    lookup(DATASETS, dataset, "dataset")
    found = [_python(), *_packages(), _machine(), _gpu(), _cache(), _disk(), *_weights()]
    return [*found, *_dataset(root, dataset), _browser()]


def _python() -> Finding:
    """Return which interpreter runs this."""
    return Finding("Python", "ok", f"{platform.python_version()} on {platform.platform()}")


def _packages() -> Iterator[Finding]:
    """Yield a finding for the required packages together, and one for each extra."""
    try:
        lines = [Requirement(line) for line in requires("spairc") or ()]
    except PackageNotFoundError:
        yield Finding("spairc", "wrong", "not installed", "pip install spairc")
        return
    needed = _of(lines, "")
    if faults := _faults(needed):
        yield Finding("packages", "wrong", faults, "pip install --upgrade spairc")
    else:
        told = f"spairc {version('spairc')} and the {len(needed)} packages that it needs"
        yield Finding("packages", "ok", told)
    for extra, use in _EXTRAS.items():
        own = [each for each in _of(lines, extra) if each not in needed]
        if faults := _faults(own):
            advice = f"for {use}: pip install 'spairc[{extra}]'"
            yield Finding(f"extra {extra}", "absent", faults, advice)
        else:
            there = ", ".join(f"{each.name} {version(each.name)}" for each in own)
            yield Finding(f"extra {extra}", "ok", there)


def _of(lines: Sequence[Requirement], extra: str) -> list[Requirement]:
    """Return what an installation with this extra requires."""
    return [each for each in lines if each.marker is None or each.marker.evaluate({"extra": extra})]


def _faults(requirements: Sequence[Requirement]) -> str:
    """Return what is wrong with the installed packages; nothing if they are as required."""
    return ", ".join(fault for each in requirements if (fault := _fault(each)))


def _fault(requirement: Requirement) -> str | None:
    """Return what is wrong with an installed package; None if it is as required."""
    try:
        there = version(requirement.name)
    except PackageNotFoundError:
        return f"no {requirement.name}"
    if requirement.specifier.contains(there, prereleases=True):
        return None
    return f"{requirement.name} {there}, not {requirement.specifier}"


def _machine() -> Finding:
    """Return what there is to compute with."""
    return Finding("processor", "ok", f"{cores()} cores, {memory() / 1e9:.0f} GB of memory")


def _gpu() -> Finding:
    """Return the GPUs that torch can use."""
    names = device_names()
    if names:
        return Finding("GPU", "ok", ", ".join(names))
    advice = "everything runs on the processor; networks are slower there"
    return Finding("GPU", "absent", "none that torch can use", advice)


def _cache() -> Finding:
    """Return where lists, trained models and downloads are kept, and whether it can be written."""
    folder = cache_folder()
    try:
        make_folder(folder)
    except BadInput as error:
        return Finding("cache", "wrong", str(error), "set SPAIRC_CACHE to a folder of yours")
    size = sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())
    return Finding("cache", "ok", f"{folder}, {size / 1e6:,.0f} MB")


def _disk() -> Finding:
    """Return how much room there is where runs and built sets go by default."""
    free = shutil.disk_usage(Path.cwd()).free
    told = f"{free / 1e9:,.0f} GB free in {Path.cwd()}"
    if free >= _ROOM:
        return Finding("disk", "ok", told)
    advice = "spairc build needs about 11 GB for SPair-71k; eval corrupts as it goes, without files"
    return Finding("disk", "absent", told, advice)


def _weights() -> Iterator[Finding]:
    """Yield the models that were trained here; one finding if there are none."""
    names = registered_names()
    for name in names:
        try:
            there = registered(name)
        except BadInput as error:
            yield Finding(f"trained {name}", "wrong", str(error))
            continue
        if there is not None:
            yield Finding(f"trained {name}", "ok", str(there.checkpoint))
    if not names:
        advice = "spairc train, or give --checkpoint; spairc list models tells where weights are"
        yield Finding("trained models", "absent", "none", advice)


def _dataset(root: Path | None, name: str) -> Iterator[Finding]:
    """Yield what each split of the dataset holds."""
    if root is None:
        page = DATASETS[name].page
        advice = f"spairc doctor --root FOLDER looks into one; its authors' page: {page}"
        yield Finding(name, "absent", "no --root was given", advice)
        return
    for split in DATASETS[name].splits:
        try:
            pairs = load_dataset(name, root, split)
        except BadInput as error:
            yield Finding(f"{name} {split}", "absent", str(error))
        else:
            yield Finding(f"{name} {split}", "ok", f"{len(pairs):,} pairs in {root}")


def _browser() -> Finding:
    """Return a browser, for the pages of `report --html` and of the leaderboard."""
    wanted = (os.environ.get("BROWSER", ""), *_BROWSERS)
    found = next((path for name in wanted if name and (path := shutil.which(name))), None)
    if found is not None:
        return Finding("browser", "ok", found)
    if sys.platform in ("darwin", "win32"):
        return Finding("browser", "ok", "the system's own")
    advice = "pages are single files: open them on another machine"
    return Finding("browser", "absent", "none found", advice)
