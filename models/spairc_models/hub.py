"""Models that come as repositories: torch.hub's, and any local code.

    hub:owner/repo:entry            what hubconf.py of a GitHub repository calls `entry`
    hub:owner/repo@revision:entry   the same, of a branch, tag or commit
    hub:/path/to/repo:entry         the same, of a local copy
    repo:/path/to/repo:package.module:Name   any class or function of a local repository

Naming one runs its code, with all that the user may do: name only what you would run yourself.
Weights given as a checkpoint are read by `spairc_models.checkpoint`, which executes nothing; what
the repository fetches or loads of its own accord is its own affair.

An entry returns a matcher, or a `torch.nn.Module` whose features are then compared. It gets the
options that it names. Weights reach a matcher as its option `state_dict`, a mapping from names to
tensors; a module's are loaded strictly. A module that matches pairs by itself, as MARCO's, is one
with `pairs` (`pair_network`).
"""

import hashlib
import importlib.util
import inspect
import re
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import torch
from torch import nn

from spairc.files import make_folder
from spairc.types import BadInput, Matcher
from spairc_models import as_matcher, check_options
from spairc_models.backbone import built
from spairc_models.checkpoint import read_checkpoint
from spairc_models.isolation import Isolated, Repository
from spairc_models.module_features import module_matcher
from spairc_models.pair_network import pair_matcher

_GITHUB = re.compile(r"(?P<owner>[\w.-]+)/(?P<repo>[\w.-]+)(@(?P<revision>[\w./-]+))?")
_NOT_FOUND = 404


def repository_matcher(name: str, /, *, pairs: bool = False, **options: Any) -> Isolated:
    """Return the matcher that an entry of a repository makes, or that its network is made into.

    Args:
        name: "hub:owner/repo:entry", "hub:/path:entry" or "repo:/path:package.module:Name".
        pairs: Whether its network takes pairs and points, instead of giving features.
        options: The entry's own, and for a network those of `module_matcher`, or `pair_matcher`.

    Raises:
        BadInput: If there is no such repository or entry, it cannot be fetched, something that it
            needs is not installed, or it takes no such option.
    """
    folder, path, shown = _located(name)
    repository = Repository(folder)
    entry = repository.entry(path, "model")
    if not callable(entry):
        raise BadInput(f"model {name!r} is no class or function")
    if path.startswith("hubconf:"):
        _check_dependencies(repository, name)
    maker = pair_matcher if pairs else module_matcher
    taken, left = _shared_out(entry, options, maker)
    details: dict[str, Any] = {}
    if "state_dict" in _named(entry) and "checkpoint" in left:
        checkpoint = read_checkpoint(left.pop("checkpoint"))
        taken["state_dict"], details["weights"] = checkpoint.state, checkpoint.sha256
    check_options(name, entry, (), taken)
    with repository.active():
        made: Any = built(lambda: _called(entry, taken, name))
        if isinstance(made, nn.Module) and (pairs or not callable(getattr(made, "match", None))):
            own = _checked(left, entry, name, maker)
            both = {key: value for key, value in taken.items() if key in _own(maker)}
            matcher: Matcher = maker(made, shown, **both, **own)
        elif pairs or left:
            unknown = [*left, *(["pairs"] if pairs else [])]
            raise BadInput(f"model {name!r} takes no {', '.join(unknown)}; it takes {_list(entry)}")
        else:
            matcher = as_matcher(name, made)
    isolated = Isolated(matcher, repository)
    details["code"] = _code_hash(repository, folder)
    isolated.details = {**isolated.details, **details}
    return isolated


def _located(name: str) -> tuple[Path, str, str]:
    """Return the folder, the entry as "module:Name", and what tables call the model."""
    kind, _, rest = name.partition(":")
    parts = rest.rsplit(":", 1 if kind == "hub" else 2)
    wanted = "owner/repo:entry, or a path" if kind == "hub" else "/path:package.module:Name"
    if len(parts) != (2 if kind == "hub" else 3) or not all(parts):
        raise BadInput(f"model {name!r}: write {kind}:{wanted}")
    place, entry = parts[0], parts[1] if kind == "repo" else "hubconf"
    address = f"{entry}:{parts[-1]}"
    if place[0] in "/.~" or kind == "repo" or ":" in place:
        folder = Path(place).expanduser()
        if not folder.is_dir():
            raise BadInput(f"model {name!r}: {place} is no folder")
        return folder, address, f"{kind}:{folder.resolve().name}:{':'.join(parts[1:])}"
    found = _GITHUB.fullmatch(place)
    if found is None:
        raise BadInput(f"model {name!r}: write hub:owner/repo:entry, or a path that begins with /")
    return _fetched(found["owner"], found["repo"], found["revision"]), address, name


def _fetched(owner: str, repo: str, revision: str | None) -> Path:
    """Return the folder of a GitHub repository in torch's cache; it is fetched if it is not there.

    Raises:
        BadInput: If there is no such repository, or no network.
    """
    cache = Path(torch.hub.get_dir())
    # torch.hub itself calls the folder by the branch, which is only known to GitHub.
    names = [revision.replace("/", "_")] if revision else ["HEAD", "main", "master"]
    for name in names:
        if (folder := cache / f"{owner}_{repo}_{name}").is_dir():
            return folder
    url = f"https://github.com/{owner}/{repo}/archive/{revision or 'HEAD'}.zip"
    return _unpacked(url, make_folder(cache) / f"{owner}_{repo}_{names[0]}")


def _unpacked(url: str, folder: Path) -> Path:
    """Return the folder after the one folder of an archive was put there, whole or not at all."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        archive = Path(temporary) / "archive.zip"
        try:
            torch.hub.download_url_to_file(url, str(archive), progress=False)
            with zipfile.ZipFile(archive) as packed:
                packed.extractall(temporary)
        except (OSError, zipfile.BadZipFile) as error:  # every network error is an OSError
            raise BadInput(_why(url, error)) from error
        (unpacked,) = (each for each in Path(temporary).iterdir() if each != archive)
        try:
            return unpacked.rename(folder)
        except OSError:
            if folder.is_dir():  # another process was faster
                return folder
            raise


def _why(url: str, error: Exception) -> str:
    """Return why a repository cannot be fetched, and what to do."""
    if isinstance(error, HTTPError) and error.code == _NOT_FOUND:
        return f"{url} does not exist; check owner, repository and revision"
    return (
        f"{url} cannot be fetched ({type(error).__name__}); fetch the repository where there is a "
        f"network and name its folder: hub:/path:entry"
    )


def _check_dependencies(repository: Repository, name: str) -> None:
    """Raise BadInput if a library that hubconf.py says it needs is not installed."""
    listed = repository.value("hubconf", "dependencies")
    with repository.active():
        lacking = [each for each in listed or () if importlib.util.find_spec(each) is None]
    if lacking:
        raise BadInput(f"model {name!r} needs {', '.join(lacking)}; pip install it")


def _called(entry: Callable[..., Any], options: Mapping[str, Any], name: str) -> Any:
    """Return what an entry makes.

    Raises:
        BadInput: If it wants to fetch something and cannot.
    """
    try:
        return entry(**options)
    except HTTPError as error:
        raise BadInput(_weights_advice(name, error)) from error
    except OSError as error:
        if error.filename is not None:
            raise  # a file of its own: its bug, or the disk's
        raise BadInput(_weights_advice(name, error)) from error


def _weights_advice(name: str, error: OSError) -> str:
    """Return what to do where a repository cannot fetch its weights."""
    return (
        f"model {name!r} cannot fetch what it wants ({type(error).__name__}); tell it not to, such "
        f"as --option pretrained=false, and give --checkpoint a local file"
    )


def _shared_out(
    entry: Callable[..., Any], options: Mapping[str, Any], maker: Callable[..., Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options that the entry takes, and those that are left.

    A checkpoint is never the entry's: it would be loaded without our checks. An entry that takes
    anything gets what a network's matcher does not.
    """
    any_name = any(each.kind is each.VAR_KEYWORD for each in _parameters(entry))
    taken = {
        option: value
        for option, value in options.items()
        if option != "checkpoint"
        and (option in _named(entry) or (any_name and option not in _own(maker)))
    }
    return taken, {option: value for option, value in options.items() if option not in taken}


def _checked(
    left: dict[str, Any], entry: Callable[..., Any], name: str, maker: Callable[..., Any]
) -> dict[str, Any]:
    """Return the options left for a network's matcher.

    Raises:
        BadInput: If it takes no such option, or no such value.
    """
    if unknown := [option for option in left if option not in _own(maker)]:
        raise BadInput(
            f"model {name!r} takes no {', '.join(unknown)}; it takes {_list(entry)}; as a network "
            f"also {', '.join(_own(maker))}"
        )
    check_options(name, maker, ("network", "name"), left)
    return left


def _own(maker: Callable[..., Any]) -> list[str]:
    """Return the options of what makes a matcher of a network and its name."""
    return _named(maker)[2:]


def _parameters(entry: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return an entry's parameters."""
    return list(inspect.signature(entry).parameters.values())


def _named(entry: Callable[..., Any]) -> list[str]:
    """Return the options that an entry names."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [each.name for each in _parameters(entry) if each.kind in kinds]


def _list(entry: Callable[..., Any]) -> str:
    """Return the options that an entry names, as text."""
    return ", ".join(_named(entry)) or "none"


def _code_hash(repository: Repository, folder: Path) -> str:
    """Return SHA-256 over the files that were imported, for the run's record."""
    digest = hashlib.sha256()
    for file in repository.files():
        digest.update(f"{file.resolve().relative_to(folder.resolve()).as_posix()}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()
