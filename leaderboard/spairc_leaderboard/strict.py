"""JSON that is exactly what a dataclass says: no unknown key, no wrong type, no false number.

What a stranger sent is read by these functions alone. Every refusal is a BadInput that names the
place in the file; nothing that was sent is looked up, imported or run.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, NoReturn, TypeVar, get_args, get_origin, get_type_hints

from spairc.types import BadInput

T = TypeVar("T")
LARGEST_WHOLE = 2**53  # beyond it a whole number is not the same in every JSON reader
MOST_ITEMS = 200  # of one list or mapping; the longest that is needed has 76
SHOWN = 40  # characters of a foreign value that a message repeats


def parse_json(data: bytes, where: str) -> object:
    """Return what the JSON text says.

    Args:
        data: The file's bytes, of bounded length.
        where: What to call it in messages.

    Raises:
        BadInput: If it is no JSON in UTF-8, holds a key twice, or NaN or infinity.
    """
    try:
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_once_each,
            parse_constant=_no_constant,
            parse_float=_finite,
        )
    except (ValueError, RecursionError) as error:
        # The text of a JSON error may repeat what was sent; its kind and place say enough.
        place = f", character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise BadInput(f"{where} is no valid JSON ({type(error).__name__}{place})") from None


def build(kind: type[T], value: object, where: str) -> T:
    """Return the dataclass that a parsed JSON value describes.

    Args:
        kind: A dataclass; its fields are text, truth values, numbers, dataclasses, None, tuples
            and mappings of those.
        value: What was parsed.
        where: What to call it in messages.

    Raises:
        BadInput: If a key is missing or too much, a value is of another type, or the dataclass
            refuses it; the place is named.
    """
    found: T = _build(kind, value, where)
    return found


def dump_json(value: object) -> bytes:
    """Return a dataclass's fields as JSON in UTF-8, readable, in the order of the fields."""
    text = json.dumps(_plain(value), ensure_ascii=False, allow_nan=False, indent=1)
    return f"{text}\n".encode()


def shown(value: object) -> str:
    """Return a foreign value as a message may repeat it: escaped, bounded, on one line."""
    text = ascii(value) if isinstance(value, str | int | float | NoneType) else type(value).__name__
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _build(kind: Any, value: object, where: str) -> Any:
    """Return a value of this type, however nested the type is."""
    if isinstance(kind, UnionType):
        return _build_one_of(kind, value, where)
    origin = get_origin(kind)
    if origin is tuple:
        items = _of_type(list, value, where)
        _check_few(items, where)
        return tuple(
            _build(get_args(kind)[0], item, f"{where}[{place}]") for place, item in enumerate(items)
        )
    if origin is Mapping:
        named = _of_type(dict, value, where)
        _check_few(named, where)
        return {
            name: _build(get_args(kind)[1], item, f"{where}[{shown(name)}]")
            for name, item in named.items()
        }
    if is_dataclass(kind):
        return _build_dataclass(kind, value, where)
    return _build_scalar(kind, value, where)


def _build_dataclass(kind: Any, value: object, where: str) -> Any:
    """Return the dataclass, each field of its own type."""
    named = _of_type(dict, value, where)
    names = [field.name for field in fields(kind)]
    odd = sorted(set(named) ^ set(names))
    if odd:
        kind_of_odd = "unknown" if odd[0] in named else "missing"
        raise BadInput(f"{where}: {shown(odd[0])} is {kind_of_odd}; it has {', '.join(names)}")
    hints = get_type_hints(kind)
    given = {name: _build(hints[name], named[name], f"{where}.{name}") for name in names}
    try:
        return kind(**given)
    except BadInput as error:
        raise BadInput(f"{where}: {error}") from None


def _build_one_of(kind: UnionType, value: object, where: str) -> Any:
    """Return a value that may be of several types; at most one of them is not a scalar."""
    kinds = get_args(kind)
    if value is None and NoneType in kinds:
        return None
    scalars = [each for each in kinds if each in (str, bool, int, float)]
    exact = [each for each in scalars if type(value) is each]
    others = [each for each in kinds if each is not NoneType and each not in exact]
    return _build((exact or others)[0], value, where)


def _build_scalar(kind: Any, value: object, where: str) -> Any:
    """Return text, a truth value or a bounded number; a whole number may stand for any number."""
    if kind is float:
        number = _of_type((int, float), value, where)
        if not -LARGEST_WHOLE <= number <= LARGEST_WHOLE:
            raise BadInput(f"{where} is {shown(value)}, beyond what is allowed")
        return float(number)
    found = _of_type(kind, value, where)
    if kind is int and not -LARGEST_WHOLE <= found <= LARGEST_WHOLE:
        raise BadInput(f"{where} is too large")
    return found


def _of_type(kind: Any, value: object, where: str) -> Any:
    """Return the value if it is of this type; True is no number."""
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        wanted = "a number" if isinstance(kind, tuple) else f"of type {kind.__name__}"
        raise BadInput(f"{where} is {shown(value)}; it must be {wanted}")
    return value


def _check_few(items: Any, where: str) -> None:
    """Refuse lists that nothing needs."""
    if len(items) > MOST_ITEMS:
        raise BadInput(f"{where} has {len(items)} items; at most {MOST_ITEMS} are allowed")


def _once_each(items: list[tuple[str, object]]) -> dict[str, object]:
    """Return the pairs as a mapping; readers differ over which of two equal keys counts."""
    found = dict(items)
    if len(found) != len(items):
        raise ValueError
    return found


def _no_constant(_: str) -> NoReturn:
    """Refuse NaN, Infinity and -Infinity, which are no JSON."""
    raise ValueError


def _finite(text: str) -> float:
    """Return the number; 1e999 is none."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError
    return number


def _plain(value: object) -> object:
    """Return dataclasses, mappings and tuples as what JSON has."""
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value
