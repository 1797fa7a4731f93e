"""Foreign code that believes it is alone: a repository imported without a trace.

Research repositories are written to be run from their own folder. Half of them have a top-level
package called `models`, `utils` or `data`, so that no two can be imported in one process. Here a
repository has its own `sys.path` and keeps its own modules; both are in place only while its code
runs. What it imports from elsewhere (torch, timm) is shared as usual.

This is about names, not about safety: the code may do whatever the user may.
"""

import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from spairc.lookup import import_object
from spairc.types import BadInput, Features, Image, Matcher, Points, Query

# A folder of a repository may be called so too; what runs already is never hidden from it.
_SHARED = sys.stdlib_module_names | {
    *("spairc", "spairc_models", "matchme_train", "spairc_leaderboard"),
    *("numpy", "scipy", "torch", "torchvision", "timm", "PIL", "cv2", "numba", "pandas"),
}


class Repository:
    """The folder of a repository, and the modules that were imported from it.

    Two of them may have modules of the same names. One process runs the code of one repository
    at a time: `active` changes what the whole process imports.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        # An environment inside the folder, as .venv, is the process's own, not the repository's.
        self._others = [
            place
            for place in map(Path.resolve, map(Path, sys.path))
            if self._folder in place.parents
        ]
        self._path = [str(self._folder)]  # first in sys.path
        self._modules: dict[str, ModuleType] = {}  # its own, by name

    @contextmanager
    def active(self) -> Iterator[None]:
        """Hold the repository's path and modules while the block runs, then the process's own."""
        path = list(sys.path)
        hidden = self._hide()
        before = dict(sys.modules)
        sys.modules.update(self._modules)
        sys.path[:] = [*self._path, *path]
        importlib.invalidate_caches()
        try:
            yield
        finally:
            self._path = [entry for entry in sys.path if entry not in path]
            sys.path[:] = path
            self._modules = {
                name: module
                for name, module in sys.modules.items()
                if before.get(name) is not module and self._owns(module)
            }
            for name in self._modules:
                del sys.modules[name]
            sys.modules.update(hidden)
            importlib.invalidate_caches()

    def entry(self, name: str, kind: str) -> object:
        """Return what "package.module:Name" names in the repository.

        Raises:
            BadInput: If there is no such thing, or a library that the repository needs is missing.
        """
        module, _, _ = name.partition(":")
        with self.active():
            try:
                return import_object(name, kind)
            except ModuleNotFoundError as error:
                raise BadInput(
                    f"{module} of {self._folder} imports {error.name}, which is not installed; "
                    f"pip install it"
                ) from error

    def value(self, module: str, name: str) -> Any:
        """Return a value of a module that was imported; None where it has none."""
        return getattr(self._modules.get(module), name, None)

    def files(self) -> list[Path]:
        """Return the files of the modules that were imported, sorted."""
        files = (getattr(module, "__file__", None) for module in self._modules.values())
        return sorted({Path(file) for file in files if file is not None})

    def _hide(self) -> dict[str, ModuleType]:
        """Take modules of other owners that are called as the repository's own out of the way."""
        own = self._names() - _SHARED
        hidden = {
            name: module for name, module in sys.modules.items() if name.partition(".")[0] in own
        }
        for name in hidden:
            del sys.modules[name]
        return hidden

    def _names(self) -> set[str]:
        """Return the top-level modules and packages that Python finds in the repository."""
        folders = [Path(entry) for entry in self._path]
        files = {file.stem for folder in folders for file in folder.glob("*.py")}
        return files | {file.parent.name for folder in folders for file in folder.glob("*/*.py")}

    def _owns(self, module: ModuleType) -> bool:
        """Return whether a module came from the repository."""
        file = getattr(module, "__file__", None)
        places = [file] if file is not None else list(getattr(module, "__path__", ()))
        return any(self._holds(Path(place).resolve()) for place in places)

    def _holds(self, place: Path) -> bool:
        """Return whether a file or folder is the repository's."""
        other = any(place.is_relative_to(each) for each in self._others)
        return place.is_relative_to(self._folder) and not other


class Isolated:
    """A matcher whose methods run with its repository in place, as they may import more."""

    def __init__(self, matcher: Matcher, repository: Repository) -> None:
        self._matcher = matcher
        self._repository = repository
        self.name = matcher.name
        self.details: Mapping[str, Any] = getattr(matcher, "details", {})

    def encode(self, images: Sequence[Image]) -> list[Features]:
        """Return the matcher's features."""
        with self._repository.active():
            return self._matcher.encode(images)

    def match(self, queries: Sequence[Query]) -> list[Points]:
        """Return the matcher's answers."""
        with self._repository.active():
            return self._matcher.match(queries)
