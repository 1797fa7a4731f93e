"""What every matcher of the zoo takes on a CPU: seconds a picture and a pair, peak memory.

    python benchmarks/zoo.py --root SPair-mini [--models hpf scot ...] [--pictures 4]

Each model runs in a process of its own, on one thread, over the test pictures of one category:
all are encoded, then the pairs among them matched. Networks have random weights, which cost what
any do and of which nothing else is told. What cannot be loaded so (Stable Diffusion) is left out.
The figures go to models/spairc_models/zoo/measured.json, which `spairc list models` shows; models
that are not named keep theirs.
"""

import argparse
import inspect
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from spairc import load_dataset
from spairc.images import read_image
from spairc.lookup import import_object
from spairc.types import BadInput, Query
from spairc_models import MODELS, load_model
from spairc_models.zoo.measured import FILE


def main() -> None:
    """Measure the models that were asked for and write what they took."""
    options = parsed()
    if options.measure:
        print(json.dumps(took(options.measure, options.root, options.pictures)))
        return
    rows = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    for name in options.models:
        print(name, end="  ", flush=True)
        found = in_own_process(name, options)
        print(found or "cannot be loaded without its weights", flush=True)
        if found:
            rows[name] = found
        ordered = {name: rows[name] for name in MODELS if name in rows}
        FILE.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")


def parsed() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    runnable = [name for name, model in MODELS.items() if model.where]
    parser.add_argument("--root", type=Path, required=True, help="a data set like SPair-71k")
    parser.add_argument("--models", nargs="+", choices=runnable, default=runnable)
    parser.add_argument("--pictures", type=int, default=4)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    return parser.parse_args()


def in_own_process(name: str, options: argparse.Namespace) -> dict[str, float] | None:
    """Return what one model took; None if it cannot be loaded."""
    command = [sys.executable, __file__, "--root", str(options.root), "--measure", name]
    command += ["--pictures", str(options.pictures)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    found: dict[str, float] | None = json.loads(done.stdout.splitlines()[-1])
    return found


def took(name: str, root: Path, count: int) -> dict[str, float] | None:
    """Return seconds a picture and a pair, and the most megabytes that this process held."""
    matcher = loaded(name)
    if matcher is None:
        return None
    pairs = load_dataset("spair71k", root)
    keys = sorted({pairs[0].source, *(p.source for p in pairs if p.category == pairs[0].category)})
    images = {key: read_image(next((root / "JPEGImages").glob(f"{key}.*"))) for key in keys[:count]}
    chosen = [pair for pair in pairs if {pair.source, pair.target} <= images.keys()]
    matcher.encode(list(images.values())[:1])  # warms up
    start = time.perf_counter()
    features = dict(zip(images, matcher.encode(list(images.values())), strict=True))
    encoded = time.perf_counter()
    queries = [
        Query(
            source=features[pair.source],
            target=features[pair.target],
            points=pair.source_points,
            source_size=pair.source_size,
            target_size=pair.target_size,
            category=pair.category,
        )
        for pair in chosen
    ]
    matcher.match(queries[:1])
    begun = time.perf_counter()
    matcher.match(queries)
    done = time.perf_counter()
    return {
        "picture": round((encoded - start) / len(images), 4),
        "pair": round((done - begun) / len(queries), 4),
        "megabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def loaded(name: str) -> Any:
    """Return the matcher, with random weights where it has any; None if it takes none."""
    options: dict[str, Any] = {}
    if MODELS[name].needs_weights:
        import torch  # noqa: PLC0415 -- the plain matchers are measured without it

        torch.set_num_threads(1)
        maker: Any = import_object(MODELS[name].where, "model")
        if "weights" not in inspect.signature(maker).parameters:
            return None
        options = {"weights": "random", "device": "cpu"}
    try:
        return load_model(name, **options)
    except BadInput as error:
        print(error, file=sys.stderr)
        return None


if __name__ == "__main__":
    main()
