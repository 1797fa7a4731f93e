"""The matchers of spairc: what there is (`MODELS`), and one by name (`load_model`).

To add one: a file with a function that returns a `spairc.types.Matcher`, its options being that
function's keyword arguments, and an entry in a table of `zoo`. Nothing here imports torch; a
model's own file does when the model is loaded.
"""

import inspect
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, cast

from spairc.lookup import import_object, lookup
from spairc.types import BadInput, Matcher
from spairc_models.zoo import COLLECTIONS, MODELS, Model

if TYPE_CHECKING:
    import torch  # slow to import, and needed only once a network is made

__all__ = [
    "COLLECTIONS",
    "MODELS",
    "Model",
    "as_matcher",
    "check_options",
    "load_model",
    "load_network",
]

# What an option may be that is annotated so.
_KINDS: Mapping[type, tuple[type, str]] = {
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
    bool: (bool, "true or false"),
    str: (str, "text"),
}


def load_model(
    name: str,
    /,
    checkpoint: str | None = None,
    device: str | None = None,
    **options: Any,
) -> Matcher:
    """Return a matcher.

    Args:
        name: An entry of `MODELS`, "torchvision:NETWORK", "timm:NETWORK", the import path of a
            class or function of your own, "package.module:MyMatcher", or code of a repository,
            which is run: "hub:owner/repo:entry", "repo:/path:package.module:MyMatcher".
        checkpoint: Its weights: a file, a folder, or hf://org/repo/file@revision.
        device: "cpu", "cuda", "cuda:1"; None takes CUDA where there is one.
        options: Its own settings, such as layers, side, readout, precision; those that are None
            count as not given.

    Raises:
        BadInput: If there is no such model or no program of it, it has no such option, or it
            cannot be loaded as asked.
    """
    given = {"checkpoint": checkpoint, "device": device, **options}
    given = {option: value for option, value in given.items() if value is not None}
    prefix, colon, _ = name.partition(":")
    if colon and prefix in COLLECTIONS:
        maker = import_object(COLLECTIONS[prefix].where, "model")
        return _made(name, maker, (name,), given)
    if colon:
        return _made(name, import_object(name, "model"), (), given)
    if name in COLLECTIONS:
        raise BadInput(f"model {name!r} is a collection; write {name}:NETWORK")
    model = lookup(MODELS, name, "model")
    if not model.where:
        raise BadInput(
            f"model {name!r} ({model.paper}) has no public program; the nearest that runs is "
            f"{model.nearest!r}, {MODELS[model.nearest].description}"
        )
    return _made(name, import_object(model.where, "model"), (), given)


def load_network(name: str, *, seed: int = 0, **settings: Any) -> "torch.nn.Module":
    """Return a published network with fresh weights, for training; in evaluation mode.

    Its state dict has the official names and shapes, and `forward(first, second)` takes two
    batches of normalised pictures: first those whose points are given.

    Args:
        name: An entry of `spairc_models.networks.NETWORKS`, such as "cats".
        seed: Of the weights; torch's own stream of random numbers is left as it was.
        settings: The constructor's, where the published ones are not wanted.

    Raises:
        BadInput: If there is no such network.
    """
    from spairc_models import networks  # noqa: PLC0415 -- imports torch

    return networks.load_network(name, seed=seed, **settings)


def _made(
    name: str, maker: object, arguments: tuple[str, ...], given: Mapping[str, object]
) -> Matcher:
    """Return what the function or class makes of the options that were given.

    Raises:
        BadInput: If it takes no such option, needs another, or makes no matcher.
    """
    if not callable(maker):
        raise BadInput(f"model {name!r} is no class or function, so it cannot make a matcher")
    check_options(name, maker, arguments, given)
    return as_matcher(name, maker(*arguments, **given))


def as_matcher(name: str, made: object) -> Matcher:
    """Return what was made, as it has all that a matcher needs.

    Raises:
        BadInput: If it has not; what is missing is named.
    """
    lacking = [part for part in ("encode", "match") if not callable(getattr(made, part, None))]
    if not isinstance(getattr(made, "name", None), str):
        lacking.insert(0, "name")
    if lacking:
        raise BadInput(
            f"model {name!r} makes an object of {type(made).__name__}, which lacks "
            f"{', '.join(lacking)}; a matcher has a name, encode(images) and match(queries)"
        )
    return cast("Matcher", made)


def check_options(
    name: str,
    maker: Callable[..., object],
    arguments: tuple[str, ...],
    given: Mapping[str, object],
) -> None:
    """Raise BadInput unless the function takes what was given, such values, and needs no more."""
    parameters = inspect.signature(maker).parameters.values()
    free = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    named = {parameter.name: parameter for parameter in free[len(arguments) :]}
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    unknown = [option for option in given if option not in named and not takes_any]
    if unknown:
        raise BadInput(
            f"model {name!r} takes no {', '.join(unknown)}; it takes {', '.join(named) or 'none'}"
        )
    needed = [each for each, p in named.items() if p.default is p.empty and each not in given]
    if needed:
        raise BadInput(f"model {name!r} needs {', '.join(needed)}")
    for option, value in given.items():
        wanted = named[option].annotation if option in named else None
        for kind, (type_, text) in _KINDS.items():
            # To Python a truth is a number, to a user it is not.
            fits = isinstance(value, type_) and isinstance(value, bool) == (kind is bool)
            if wanted in (kind, kind | None) and not fits:
                raise BadInput(f"model {name!r}: {option} is {value!r}; give {text}")
