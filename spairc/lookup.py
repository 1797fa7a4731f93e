"""Find things by name, and name the nearest one when there is none.

Tables are plain dicts in reading order; these two functions are all the registry there is.
"""

import importlib
from collections.abc import Mapping
from difflib import get_close_matches
from typing import TypeVar

from spairc.types import BadInput

T = TypeVar("T")


def lookup(table: Mapping[str, T], name: str, kind: str) -> T:
    """Return `table[name]`; if it is missing, say so and name the nearest entry.

    Args:
        table: The entries, by name.
        name: What the user typed.
        kind: What an entry is, in the singular, for the message: "corruption", "model".

    Raises:
        BadInput: If `name` is not in the table.
    """
    if name in table:
        return table[name]
    near = get_close_matches(name, table, n=1)
    advice = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(table)}"
    raise BadInput(f"no {kind} is called {name!r}; {advice}")


def import_object(path: str, kind: str) -> object:
    """Return what "package.module:Name" names.

    Raises:
        BadInput: If the path is not of that form, or the module or the name in it is missing. An
            error inside the module is a bug of that module and shows its traceback.
    """
    module_name, colon, name = path.partition(":")
    if not colon or not all(part.isidentifier() for part in [*module_name.split("."), name]):
        raise BadInput(f"{kind} {path!r}: write package.module:Name")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the module exists; something that it imports does not
        raise BadInput(
            f"{kind} {path!r}: no module called {error.name!r}; is its folder on PYTHONPATH?"
        ) from None
    if not hasattr(module, name):
        raise BadInput(f"{kind} {path!r}: {module_name} has no {name!r}")
    return getattr(module, name)
