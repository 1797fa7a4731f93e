"""Damages every kind of file that spairc reads, over and over, and counts what happens.

    python tests/fuzz.py [--rounds 2000] [--seed 0] [--target NAME]

A reader may answer, or refuse with BadInput. Anything else is a fault: another exception, the end
of the process, more than `PATIENCE` seconds. Each target runs in a process of its own, because some
libraries end theirs over damaged bytes. `tests/test_fuzz.py` runs a short form.

To add a target: a function that writes a good file and returns it with its reader, in `TARGETS`.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import click

from spairc.types import BadInput

PATIENCE = 20.0  # seconds for one file
_HERE = Path(__file__).parent
Reader: TypeAlias = Callable[[], object]
Target: TypeAlias = Callable[[Path], tuple[Path, Reader]]  # a good file in a folder, what reads it

_TEXTS = (
    *("", "..", "../../etc/passwd", "/dev/zero", "\0", "\ufeff", '"', "'", "{", "}", "[" * 5000),
    *("NaN", "-Infinity", "1e999", "-1", "0", "9" * 400, "true", "null", "\u202e", "é", "\r", ","),
    *('{"a":' * 2000, "[1,[2,[3]]]", "%s", "=", "\n\n", "\t", "#", "a.b.c=1", "nan nan"),
)
_WORDS = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x80\0\0\0")


@dataclass
class Tally:
    """What came of one target."""

    target: str
    tried: int = 0
    read: int = 0
    refused: int = 0
    faults: int = 0
    slowest: float = 0.0  # seconds
    first_fault: str = ""


def damaged(content: bytes, draws: random.Random) -> bytes:
    """Return the bytes with one to four pieces changed."""
    made = bytearray(content)
    for _ in range(draws.randint(1, 4)):
        start = draws.randrange(len(made) + 1)
        stop = min(len(made), start + draws.choice((1, 2, 4, 16, 256)))
        what = draws.randrange(8)
        if what == 0 and start < len(made):
            made[start] ^= 1 << draws.randrange(8)
        elif what == 1:
            del made[start:stop]
        elif what == 2:
            made[start:start] = made[start:stop]
        elif what == 3:
            made[start:stop] = draws.randbytes(stop - start)
        elif what == 4:
            made[start : start + 4] = draws.choice(_WORDS)
        elif what == 5:
            made[start:start] = draws.choice(_TEXTS).encode("utf-8", "surrogatepass")
        elif what == 6:
            _replace_number(made, draws)
        elif draws.random() < 0.2:
            del made[start:]
    return bytes(made)


def _replace_number(made: bytearray, draws: random.Random) -> None:
    """Put something else in the place of a run of digits."""
    digits = [place for place, each in enumerate(made) if 48 <= each <= 57]
    if digits:
        start = stop = draws.choice(digits)
        while stop < len(made) and 48 <= made[stop] <= 57:
            stop += 1
        made[start:stop] = draws.choice(_TEXTS).encode("utf-8", "surrogatepass")


def tally(name: str, rounds: int, seed: int = 0) -> Tally:
    """Return what came of a target in this process."""
    found = Tally(name)
    with tempfile.TemporaryDirectory(prefix="spairc-fuzz-") as folder:
        path, read = TARGETS[name](Path(folder))
        good = path.read_bytes()
        read()  # the good file is read
        for number in range(rounds):
            draws = random.Random(f"{seed} {name} {number}")  # noqa: S311 -- damage is no secret
            path.write_bytes(damaged(good, draws))
            _judge(read, number, found)
    return found


def _judge(read: Reader, number: int, found: Tally) -> None:
    """Read a damaged file and count what happens."""
    start = time.perf_counter()
    found.tried += 1
    fault = ""
    try:
        read()
        found.read += 1
    except BadInput as error:
        found.refused += 1
        fault = "" if str(error).strip() else f"round {number}: a refusal without words"
    except Exception as error:  # noqa: BLE001 -- this is what is looked for
        fault = f"round {number}: {type(error).__name__}: {error}"
    seconds = time.perf_counter() - start
    found.slowest = max(found.slowest, seconds)
    if not fault and seconds > PATIENCE:
        fault = f"round {number}: {seconds:.0f} s"
    if fault:
        found.faults += 1
        found.first_fault = found.first_fault or fault[:300]


def tally_apart(name: str, rounds: int, seed: int = 0) -> Tally:
    """Return what came of a target in a process of its own, which may have died over it."""
    command = [sys.executable, __file__, "--rounds", str(rounds), "--seed", str(seed)]
    run = subprocess.run(
        [*command, "--target", name, "--json"], capture_output=True, text=True, check=False
    )
    if run.returncode == 0:
        return Tally(**json.loads(run.stdout.splitlines()[-1]))
    last = (run.stderr.strip().splitlines() or ["without a word"])[-1]
    return Tally(name, rounds, faults=1, first_fault=f"the process ended: {run.returncode}, {last}")


def _tiny_set(folder: Path) -> Path:
    """Write a data set in SPair-71k's layout of a picture and its mirror image; return its root."""
    import numpy as np
    import PIL.Image

    picture = np.random.default_rng(5).integers(0, 256, (40, 52, 3)).astype(np.uint8)
    for name, image in (("a", picture), ("b", picture[:, ::-1])):
        path = folder / "JPEGImages" / "car" / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(image).save(path, quality=90)
    name = "000000-a-b:car"
    record: dict[str, object] = {"filename": name, "category": "car"}
    for prefix, file in (("src", "a"), ("trg", "b")):
        record |= {
            f"{prefix}_imname": f"{file}.jpg",
            f"{prefix}_imsize": [52, 40, 3],
            f"{prefix}_bndbox": [3, 4, 38, 37],
            f"{prefix}_kps": [[8, 9], [30, 12], [21, 33]],
        }
    factors = ("viewpoint_variation", "scale_variation", "truncation", "occlusion")
    record |= dict.fromkeys(factors, 0)
    pairs = folder / "PairAnnotation" / "test" / f"{name}.json"
    pairs.parent.mkdir(parents=True)
    pairs.write_text(json.dumps(record))
    listing = folder / "Layout" / "large" / "test.txt"
    listing.parent.mkdir(parents=True)
    listing.write_text(f"{name}\n")
    return folder


def _annotation(folder: Path) -> tuple[Path, Reader]:
    from spairc.datasets import load_dataset

    root = _tiny_set(folder)
    return next(root.glob("PairAnnotation/test/*")), lambda: load_dataset("spair71k", root)


def _layout(folder: Path) -> tuple[Path, Reader]:
    from spairc.datasets import load_dataset

    root = _tiny_set(folder)
    return root / "Layout" / "large" / "test.txt", lambda: load_dataset("spair71k", root)


def _willow(folder: Path) -> tuple[Path, Reader]:
    import numpy as np
    import PIL.Image

    from spairc.datasets import load_dataset

    for name in ("x", "y"):
        path = folder / "PF-WILLOW" / "duck(S)" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.new("RGB", (60, 44), (9, 80, 200)).save(path)
    head = [
        "imageA",
        "imageB",
        *(f"{axis}{i}" for axis in ("XA", "YA", "XB", "YB") for i in range(10)),
    ]
    points = np.round(np.random.default_rng(3).uniform(2, 40, 40), 2)
    row = ["PF-WILLOW/duck(S)/x.png", "PF-WILLOW/duck(S)/y.png", *points]
    listing = folder / "test_pairs.csv"
    listing.write_text("\n".join(",".join(map(str, each)) for each in (head, row)) + "\n")
    return listing, lambda: load_dataset("pf-willow", folder)


def _matrix(folder: Path) -> tuple[Path, Reader]:
    import numpy as np
    import scipy.io

    from spairc.datasets.matlab import read_matrix

    path = folder / "a.mat"
    scipy.io.savemat(path, {"kps": np.arange(20.0).reshape(10, 2)}, do_compression=True)
    return path, lambda: read_matrix(path, "kps", height=None, width=2)


def _picture(suffix: str) -> Target:
    def target(folder: Path) -> tuple[Path, Reader]:
        from spairc.images import read_image

        root = _tiny_set(folder)
        jpeg, path = root / "JPEGImages" / "car" / "a.jpg", root / f"a{suffix}"
        if suffix == ".jpg":
            path.write_bytes(jpeg.read_bytes())
        else:
            import PIL.Image

            PIL.Image.open(jpeg).save(path)
        return path, lambda: read_image(path)

    return target


def _weights(name: str) -> Target:
    def target(folder: Path) -> tuple[Path, Reader]:
        import torch
        from safetensors.torch import save_file

        from spairc_models.checkpoint import read_checkpoint

        state = {"a.weight": torch.arange(60.0).reshape(3, 20), "b": torch.ones(4)}
        path = folder / name
        if path.suffix == ".safetensors":
            save_file(state, path)
        else:
            legacy = "legacy" in name
            torch.save({"state_dict": state}, path, _use_new_zipfile_serialization=not legacy)
        return path, lambda: read_checkpoint(path)

    return target


def _run(file: str) -> Target:
    def target(folder: Path) -> tuple[Path, Reader]:
        import spairc
        from spairc.runs import open_run
        from spairc.spec import parse_conditions
        from spairc_models import load_model

        pairs = spairc.load_dataset("spair71k", _tiny_set(folder / "set"))
        spairc.predict(load_model("hog"), pairs, parse_conditions("fog@3"), out=folder / "run")
        path = next((folder / "run").glob(file))
        return path, lambda: open_run(folder / "run").scores(spairc.PCK("square"))

    return target


def _journal(folder: Path) -> tuple[Path, Reader]:
    from spairc.journal import read_journal

    path, _ = _run("log.jsonl")(folder)
    return path, lambda: read_journal(path.parent)


def _built(file: str) -> Target:
    def target(folder: Path) -> tuple[Path, Reader]:
        import spairc
        from spairc.build import build
        from spairc.manifest import MANIFEST, read_entries, read_record
        from spairc.spec import parse_conditions

        pairs = spairc.load_dataset("spair71k", _tiny_set(folder / "set"))
        built = folder / "built"
        build(pairs, built, parse_conditions("fog@3"))

        def read() -> None:
            read_record(built)
            read_entries(built / MANIFEST)

        return built / file, read

    return target


def _recipe(folder: Path) -> tuple[Path, Reader]:
    from importlib.resources import files

    from matchme_train.recipe import load_recipe

    path = folder / "own.toml"
    source = files("matchme_train") / "recipes" / "matchme-catspp.toml"
    path.write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    return path, lambda: load_recipe(path)


def _trained(folder: Path) -> tuple[Path, Reader]:
    import os

    from spairc_models.recorded import registered

    os.environ["SPAIRC_CACHE"] = str(folder)
    weights = folder / "weights.safetensors"
    weights.write_bytes(b"")
    network = {"name": "cats", "side": 64, "cells": 4, "layers": [2, 3], "blocks": [1, 1, 1, 1]}
    record = {"checkpoint": str(weights), "sha256": "ab" * 32, "network": network}
    path = folder / "trained" / "cats.json"
    path.parent.mkdir()
    path.write_text(json.dumps(record))
    return path, lambda: registered("cats")


def _entry(folder: Path) -> tuple[Path, Reader]:
    from spairc_leaderboard.repository import read_entry

    path = folder / "entry.json"
    path.write_bytes((_HERE / "leaderboard_entry_1.json").read_bytes())
    return path, lambda: read_entry(path)


def _answers(folder: Path) -> tuple[Path, Reader]:
    from spairc_leaderboard.parquet_reader import read_columns

    path = folder / "fog.parquet"
    path.write_bytes((_HERE / "leaderboard_fog_1.parquet").read_bytes())
    import pyarrow.parquet as pq

    stored = pq.ParquetFile(path).metadata
    sizes = {"groups": stored.num_row_groups, "points": stored.row_group(0).num_rows}
    return path, lambda: read_columns(path, **sizes, largest=1_000_000)


def _archive(suffix: str) -> Target:
    def target(folder: Path) -> tuple[Path, Reader]:
        import shutil

        from spairc.unpack import unpack, unpacking

        root = _tiny_set(folder / "in" / "SPair-71k").parent
        kind = "gztar" if suffix == ".tar.gz" else "zip"
        path = Path(shutil.make_archive(str(folder / "archive"), kind, root))

        def read() -> None:
            out = folder / "out"
            with unpacking(out) as place:
                unpack(path, place, lambda *_: None)

        return path, read

    return target


TARGETS: Mapping[str, Target] = {
    "SPair-71k annotation": _annotation,
    "SPair-71k list": _layout,
    "PF-WILLOW list": _willow,
    "MATLAB matrix": _matrix,
    "JPEG picture": _picture(".jpg"),
    "PNG picture": _picture(".png"),
    "WebP picture": _picture(".webp"),
    "checkpoint, torch": _weights("a.pth"),
    "checkpoint, torch before 1.6": _weights("legacy.pth"),
    "checkpoint, safetensors": _weights("a.safetensors"),
    "trained model's entry": _trained,
    "recipe": _recipe,
    "run.json": _run("run.json"),
    "a run's pairs": _run("pairs.parquet"),
    "a run's answers": _run("predictions/*.parquet"),
    "a run's journal": _journal,
    "build.json": _built("build.json"),
    "a built set's manifest": _built("manifest.parquet"),
    "leaderboard entry": _entry,
    "leaderboard answers": _answers,
    "archive, tar.gz": _archive(".tar.gz"),
    "archive, zip": _archive(".zip"),
}


def main() -> None:
    """Run the targets that the command line names; print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", choices=TARGETS)
    parser.add_argument("--json", action="store_true", help="one target, here, as JSON")
    given: Any = parser.parse_args()
    if given.json:
        click.echo(json.dumps(asdict(tally(given.target, given.rounds, given.seed))))
        return
    click.echo("| what was damaged | tried | read | refused in a line | faults | slowest, s |")
    click.echo("|---|---|---|---|---|---|")
    for name in [given.target] if given.target else TARGETS:
        found = tally_apart(name, given.rounds, given.seed)
        counts = f"{found.tried:,} | {found.read:,} | {found.refused:,} | {found.faults}"
        click.echo(f"| {name} | {counts} | {found.slowest:.2f} |")
        if found.first_fault:
            click.echo(f"    {found.first_fault}", err=True)


if __name__ == "__main__":
    main()
