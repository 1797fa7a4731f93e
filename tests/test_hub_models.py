"""Models of repositories: each imported as if it were alone, then asked like any other."""

import json
import shutil
import sys
import time
from collections.abc import Mapping
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from spairc.types import BadInput, Image, Matcher, Points, Query, Size
from spairc_models import load_model
from spairc_models.isolation import Repository
from spairc_models.module_features import as_grid, module_matcher

# Two repositories as research writes them: both have a package `models` and a module `utils`.
NETWORK = """
import torch
from utils import CHANNELS
from models.parts import Tokens

class Net(torch.nn.Module):
    def __init__(self, width=1):
        super().__init__()
        self.grid = torch.nn.Conv2d(3, CHANNELS * width, 8, stride=8)
        self.tokens = Tokens()
        self.pooled = torch.nn.Flatten()

    def forward(self, inputs):
        grid = self.grid(inputs)
        self.pooled(grid.mean(dim=(2, 3)))
        return {"features": self.tokens(grid), "other": 0}
"""
PARTS = """
import torch

class Tokens(torch.nn.Module):
    # A class token in front of the grid's.
    def forward(self, grid):
        tokens = grid.flatten(2).transpose(1, 2)
        return torch.cat([tokens[:, :1], tokens], dim=1)
"""
HUBCONF = """
dependencies = ["torch"]
from models.net import Net

def tiny(width=1, pretrained=False):
    if pretrained:
        from urllib.error import URLError
        raise URLError("no network")
    return Net(width)

def careless(checkpoint=None):
    assert checkpoint is None, "it would load the file itself"
    return Net()

def anything(**options):
    return Net(options.get("width", 1))
"""
MATCHER = """
import sys
import utils

class Shift:
    name = "shift"

    def __init__(self, by=1.0, device=None, state_dict=None):
        self.by = by if state_dict is None else float(state_dict["by"])
        self.details = {"device": device}

    def encode(self, images):
        return [image.shape for image in images]

    def match(self, queries):
        from models.late import direction  # as late as can be
        return [query.points + self.by * direction() for query in queries]

class Nothing:
    pass

number = utils.CHANNELS
"""


def write(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.fixture
def nets(tmp_path: Path) -> Path:
    files = {
        "hubconf.py": HUBCONF,
        "utils.py": "CHANNELS = 5\n",
        "models/__init__.py": "",
        "models/net.py": NETWORK,
        "models/parts.py": PARTS,
    }
    return write(tmp_path / "nets", files)


@pytest.fixture
def shifts(tmp_path: Path) -> Path:
    """Its `models` is a folder without __init__, as often."""
    files = {
        "utils.py": "CHANNELS = 7\n",
        "models/shift.py": MATCHER,
        "models/late.py": "def direction():\n    return -1\n",
    }
    return write(tmp_path / "shifts", files)


def ask(matcher: Matcher, points: object = ((3.0, 4.0),)) -> Points:
    image: Image = np.random.default_rng(1).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    first, second = matcher.encode([image, image])
    asked = np.array(points, dtype=np.float64)
    return matcher.match([Query(first, second, asked, Size(56, 40), Size(56, 40), "car")])[0]


def details_of(matcher: Matcher) -> dict[str, object]:
    return dict(matcher.details)  # type: ignore[attr-defined]  # all of these have them


# One process, several repositories


def test_two_repositories_with_a_package_of_one_name_are_used_in_turn(
    nets: Path, shifts: Path
) -> None:
    net = load_model(f"hub:{nets}:tiny", side=64, device="cpu")
    shift = load_model(f"repo:{shifts}:models.shift:Shift", by=2)
    for _ in range(2):
        assert ask(shift).tolist() == [[1, 2]]
        assert ask(net).shape == (1, 2)
    assert net.encode([np.zeros((9, 7, 3), np.uint8)])[0].shape == (8, 8, 5)


def test_nothing_of_a_repository_stays_behind(nets: Path, shifts: Path) -> None:
    path, modules = list(sys.path), set(sys.modules)
    ask(load_model(f"hub:{nets}:tiny", side=64, device="cpu"))
    ask(load_model(f"repo:{shifts}:models.shift:Shift"))
    assert sys.path == path
    new = set(sys.modules) - modules
    assert not {name.partition(".")[0] for name in new} & {"models", "utils", "hubconf"}


def test_modules_of_ones_own_are_hidden_from_a_repository_and_come_back(
    shifts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = write(tmp_path / "own", {"utils.py": "CHANNELS = 1\n"})
    monkeypatch.syspath_prepend(own)
    monkeypatch.delitem(sys.modules, "utils", raising=False)
    import utils  # type: ignore[import-not-found]  # written by the lines above

    shift = load_model(f"repo:{shifts}:models.shift:Shift")
    assert sys.modules["utils"] is utils
    ask(shift)
    assert sys.modules["utils"] is utils
    assert Repository(shifts).entry("models.shift:number", "value") == 7
    monkeypatch.delitem(sys.modules, "utils")


def test_what_a_repository_adds_to_the_path_is_its_own(tmp_path: Path) -> None:
    main = "import sys\nsys.path.append(sys.path[0] + '/third')\n\ndef late():\n    import inner\n"
    files = {"main.py": main + "    return inner.VALUE\n", "third/inner.py": "VALUE = 6\n"}
    repository = Repository(write(tmp_path / "adds", files))
    path = list(sys.path)
    late: Any = repository.entry("main:late", "function")
    assert sys.path == path
    with repository.active():
        assert late() == 6
    assert "inner" not in sys.modules


def test_a_failing_repository_leaves_nothing_behind(tmp_path: Path) -> None:
    files = {"main.py": "import sys\nsys.path.insert(0, 'x')\nimport side\nraise KeyError('own')\n"}
    folder = write(tmp_path / "fails", {**files, "side.py": ""})
    path = list(sys.path)
    with pytest.raises(KeyError, match="own"):
        Repository(folder).entry("main:Name", "model")
    assert sys.path == path
    assert "side" not in sys.modules
    assert "main" not in sys.modules


def test_an_environment_inside_the_folder_is_not_the_repositorys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {".venv/shared_library.py": "", "main.py": "import shared_library as Name\n"}
    folder = write(tmp_path / "own", files)
    monkeypatch.syspath_prepend(folder / ".venv")
    shared = Repository(folder).entry("main:Name", "module")
    assert sys.modules.pop("shared_library") is shared


def test_a_folder_called_as_a_library_hides_nothing_that_runs(tmp_path: Path) -> None:
    files = {"torch/notes.py": "", "json/__init__.py": "", "main.py": "import torch as Name\n"}
    assert Repository(write(tmp_path / "odd", files)).entry("main:Name", "module") is torch


# Networks


def test_a_network_is_read_at_its_output_or_at_its_layers(nets: Path) -> None:
    image = np.random.default_rng(2).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    output = load_model(f"hub:{nets}:tiny", side=64, device="cpu")
    layer = load_model(f"hub:{nets}:tiny", side=64, device="cpu", layers="grid")
    torch.testing.assert_close(output.encode([image])[0], layer.encode([image])[0])
    assert details_of(output)["layers"] == "output"
    assert details_of(layer)["layers"] == "grid"


class Slow(nn.Module):
    """Gives every other thread the time to come between a layer and what is read of it."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.AvgPool2d(8)

    def forward(self, inputs: Tensor) -> Tensor:
        pooled: Tensor = self.first(inputs)
        time.sleep(0.02)
        return pooled


def test_threads_that_run_a_network_at_once_do_not_mix() -> None:
    images = list(np.random.default_rng(2).integers(0, 256, (6, 40, 56, 3), dtype=np.uint8))
    matcher = module_matcher(Slow(), "slow", side=64, device="cpu", layers="first")
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        together = matcher.encode(images)
    finally:
        torch.set_num_threads(before)
    for image, found in zip(images, together, strict=True):
        assert torch.equal(matcher.encode([image])[0], found)


def test_a_picture_matches_itself(nets: Path) -> None:
    matcher = load_model(f"hub:{nets}:tiny", side=64, device="cpu", readout="argmax")
    points = [[24.5, 17.5], [3.5, 37.5]]  # centres of cells of 7 x 5 pixels
    np.testing.assert_allclose(ask(matcher, points), points)


@pytest.mark.parametrize("entry", ["tiny", "anything"])
def test_an_entry_gets_its_own_options(nets: Path, entry: str) -> None:
    matcher = load_model(f"hub:{nets}:{entry}", side=64, device="cpu", width=3)
    assert matcher.encode([np.zeros((9, 7, 3), np.uint8)])[0].shape == (8, 8, 15)


def test_random_weights_are_the_same_every_time(nets: Path) -> None:
    one, other = (load_model(f"hub:{nets}:tiny", side=64, device="cpu") for _ in range(2))
    assert details_of(one)["weights"] == details_of(other)["weights"]


def test_a_networks_checkpoint_loads_strictly(nets: Path, tmp_path: Path) -> None:
    state = {"grid.weight": torch.ones(5, 3, 8, 8), "grid.bias": torch.arange(5.0)}
    torch.save({"state_dict": state}, tmp_path / "a.pth")
    name, file = f"hub:{nets}:tiny", str(tmp_path / "a.pth")
    matcher = load_model(name, checkpoint=file, side=64, device="cpu", normalisation="none")
    found = matcher.encode([np.zeros((9, 7, 3), np.uint8)])[0]
    expected = torch.arange(5.0) / torch.arange(5.0).norm()
    torch.testing.assert_close(found, expected.expand(8, 8, 5))
    torch.save({"grid.weight": torch.ones(5, 3, 8, 8)}, tmp_path / "a.pth")
    with pytest.raises(BadInput, match=r"does not fit hub:nets:tiny: grid\.bias missing"):
        load_model(name, checkpoint=file, side=64)


def test_a_checkpoint_that_would_run_code_is_refused(nets: Path, tmp_path: Path) -> None:
    torch.save({"by": Path("x")}, tmp_path / "a.pth")
    with pytest.raises(BadInput, match="could execute code on loading"):
        load_model(f"hub:{nets}:tiny", checkpoint=str(tmp_path / "a.pth"), side=64)


def test_a_checkpoint_is_never_the_repositorys_to_load(nets: Path, tmp_path: Path) -> None:
    state = {"grid.weight": torch.ones(5, 3, 8, 8), "grid.bias": torch.arange(5.0)}
    torch.save(state, tmp_path / "a.pth")
    name = f"hub:{nets}:careless"
    matcher = load_model(name, checkpoint=str(tmp_path / "a.pth"), side=64, device="cpu")
    assert len(str(details_of(matcher)["weights"])) == 64


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((2, 7, 3, 4), (2, 7, 3, 4)), ((2, 9, 5), (2, 5, 3, 3)), ((2, 14, 5), (2, 5, 3, 3))],
)
def test_tokens_become_a_grid(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    given = torch.arange(float(np.prod(shape))).reshape(shape)
    found = as_grid([(given, None)])
    assert isinstance(found, Tensor)
    assert tuple(found.shape) == expected
    torch.testing.assert_close(
        found[1, :, -1, -1], given[1, -1] if given.ndim == 3 else given[1, :, -1, -1]
    )


# Matchers


def test_a_repositorys_own_matcher_gets_weights_as_tensors(shifts: Path, tmp_path: Path) -> None:
    torch.save({"by": torch.tensor(3.0)}, tmp_path / "a.pth")
    name = f"repo:{shifts}:models.shift:Shift"
    matcher = load_model(name, checkpoint=str(tmp_path / "a.pth"), device="cpu")
    assert ask(matcher).tolist() == [[0, 1]]
    assert matcher.name == "shift"
    details = details_of(matcher)
    assert json.loads(json.dumps(details)) == details
    assert details["device"] == "cpu"
    assert len(str(details["weights"])) == len(str(details["code"])) == 64


def test_the_record_changes_with_the_code_that_ran(shifts: Path, tmp_path: Path) -> None:
    name = "models.shift:Shift"
    first = details_of(load_model(f"repo:{shifts}:{name}"))["code"]
    moved = Path(shutil.copytree(shifts, tmp_path / "moved"))
    assert details_of(load_model(f"repo:{moved}:{name}"))["code"] == first
    write(moved, {"utils.py": "CHANNELS = 8\n"})
    assert details_of(load_model(f"repo:{moved}:{name}"))["code"] != first


# Refusals


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("hub:{nets}:tyni", {}, "hubconf has no 'tyni'"),
        ("hub:{nets}", {}, "write hub:owner/repo:entry, or a path"),
        ("hub:{shifts}:tiny", {}, "no module called 'hubconf'"),
        ("hub:nets:tiny", {}, "write hub:owner/repo:entry, or a path that begins with /"),
        ("hub:/no/folder:tiny", {}, "/no/folder is no folder"),
        ("repo:{nets}:Net", {}, "write repo:/path:package.module:Name"),
        ("repo:{nets}:models.net:Nte", {}, "models.net has no 'Nte'"),
        ("repo:{shifts}:models.shift:number", {}, "is no class or function"),
        ("repo:{shifts}:models.shift:Nothing", {}, "lacks name, encode, match; a matcher"),
        ("repo:{shifts}:models.shift:Shift", {"layers": "3"}, "no layers; it takes by, device, st"),
        ("hub:{nets}:tiny", {"depth": 3}, "takes no depth; it takes width, pretrained; as a netwo"),
        ("hub:{nets}:tiny", {"layers": "gird"}, "has no layer 'gird'; did you mean 'grid'"),
        ("hub:{nets}:tiny", {"layers": "x9"}, "its modules are grid, tokens, pooled and theirs"),
        ("hub:{nets}:tiny", {"layers": "pooled"}, "has no grid of features"),
        ("hub:{nets}:tiny", {"side": 4}, "takes no picture of side 4 .* give another --input-side"),
        ("hub:{nets}:tiny", {"normalisation": "x"}, "no normalisation is called 'x'"),
        ("hub:{nets}:tiny", {"window": "wide"}, "window is 'wide'; give a whole number"),
        ("hub:{nets}:tiny", {"pretrained": True}, "URLError.* --option pretrained=false"),
        ("hub", {}, "'hub' is a collection; write hub:"),
    ],
)
def test_what_cannot_be_is_explained(
    nets: Path, shifts: Path, name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput, match=message) as refusal:
        load_model(name.format(nets=nets, shifts=shifts), **options)
    assert "\n" not in str(refusal.value)


def test_a_library_that_is_not_installed_is_named(tmp_path: Path) -> None:
    files = {"hubconf.py": "dependencies = ['torch', 'no_such_one']\n\ndef net():\n    pass\n"}
    folder = write(tmp_path / "needs", {**files, "main.py": "import no_such_library\n"})
    with pytest.raises(BadInput, match="needs no_such_one; pip install it"):
        load_model(f"hub:{folder}:net")
    with pytest.raises(BadInput, match="imports no_such_library, which is not installed"):
        load_model(f"repo:{folder}:main:Net")


# GitHub


@pytest.fixture
def github(nets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A GitHub that has one repository; the list tells what it was asked."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    asked: list[str] = []
    packed = shutil.make_archive(str(tmp_path / "nets-abc"), "zip", tmp_path, nets.name)

    def download(url: str, to: str, *, progress: bool) -> None:
        assert not progress
        asked.append(url)
        if "somebody/nets" not in url:
            raise HTTPError(url, 404, "Not Found", Message(), None)
        shutil.copy(packed, to)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    return asked


def test_a_repository_of_github_is_fetched_once(github: list[str]) -> None:
    for _ in range(2):
        matcher = load_model("hub:somebody/nets:tiny", side=64, device="cpu")
        assert matcher.name == "hub:somebody/nets:tiny"
    load_model("hub:somebody/nets@v1/a:tiny", side=64, device="cpu")
    address = "https://github.com/somebody/nets/archive"
    assert github == [f"{address}/HEAD.zip", f"{address}/v1/a.zip"]


def test_what_torch_itself_has_fetched_is_used(github: list[str], nets: Path) -> None:
    shutil.copytree(nets, Path(torch.hub.get_dir()) / "other_nets_main")
    assert load_model("hub:other/nets:tiny", side=64, device="cpu").name == "hub:other/nets:tiny"
    assert github == []


def test_a_repository_that_is_not_there_is_one_line(github: list[str]) -> None:
    with pytest.raises(
        BadInput, match=r"nobody/nets/archive/HEAD\.zip does not exist; check owner"
    ):
        load_model("hub:nobody/nets:tiny")
    assert len(github) == 1


def test_a_damaged_archive_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(_: str, to: str, *, progress: bool) -> None:  # noqa: ARG001 -- torch's signature
        Path(to).write_bytes(b"PK")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    with pytest.raises(BadInput, match=r"cannot be fetched \(BadZipFile\)"):
        load_model("hub:somebody/nets:tiny")


def test_without_a_network_a_repository_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    expected = r"cannot be fetched \(URLError\); fetch .* name its folder: hub:/path:entry"
    with pytest.raises(BadInput, match=expected) as refusal:
        load_model("hub:somebody/nets:tiny")
    assert "\n" not in str(refusal.value)
    assert list((tmp_path / "hub").iterdir()) == []
