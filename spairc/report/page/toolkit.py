"""Pages in one file: markup that no name can break, embedded data, one document without network.

Text becomes markup in `tag` alone, which escapes whatever is not markup already; data goes into a
script element in which no `<` is left. The document forbids, by its content security policy,
everything that it does not contain itself: styles and scripts are allowed by their hashes.
"""

import base64
import hashlib
import html
import json
import re
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import TypeAlias

from spairc.report.canvas import GROUP_COLOURS

_EMPTY = ("meta", "img", "input", "col", "br", "wbr")  # elements that have no end
# In JSON these stand in strings only, so an escape of JSON's own says the same; and without them
# nothing in a script element can end it, or begin a comment in it.
_UNSAFE_IN_SCRIPT = {each: f"\\u{ord(each):04x}" for each in "<>&\u2028\u2029"}
Value: TypeAlias = str | int | bool | None  # of an attribute


class Html(str):
    """Markup; a plain `str` is text that still has to be escaped."""

    __slots__ = ()


def tag(name: str, *children: str, **attributes: Value) -> Html:
    """Return an element.

    Args:
        name: Of the element.
        children: Markup as it is, text escaped.
        attributes: `class_` is written class, `aria_label` aria-label; True gives the name alone,
            False and None give nothing.
    """
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    end = "" if name in _EMPTY else f"</{name}>"
    return Html(f"<{name}{written}>{joined(children)}{end}")


def joined(parts: Iterable[str]) -> Html:
    """Return the parts one after the other, text escaped."""
    return Html("".join(each if isinstance(each, Html) else html.escape(each) for each in parts))


def name_of(text: str) -> Html:
    """Return a foreign name as `nameOf` in base.js does.

    It cannot turn the text around it into another direction, and a long one breaks where its parts
    meet.
    """
    parts = re.split(r"(?<=[:/_-])", text)
    return tag("bdi", *[each for part in parts for each in (tag("wbr"), part)][1:])


def data_uri(kind: str, data: bytes) -> str:
    """Return the address that holds the bytes itself.

    Args:
        kind: The media type, such as "image/webp".
        data: The bytes.
    """
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def embedded(name: str, data: object) -> Html:
    """Return a script element that holds data, for `readData(name)` in base.js."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    for character, escape in _UNSAFE_IN_SCRIPT.items():
        text = text.replace(character, escape)
    return Html(f'<script type="application/json" id="{html.escape(name)}">{text}</script>')


def asset(package: str, name: str) -> str:
    """Return the text of a file that ships with a package."""
    return (files(package) / name).read_text(encoding="utf-8")


def document(
    title: str, body: Sequence[str], *, styles: Sequence[str], scripts: Sequence[str]
) -> str:
    """Return a whole page that needs nothing but itself.

    Args:
        title: Of the window.
        body: Parts of the body, data included.
        styles: Style sheets that come after the toolkit's own.
        scripts: Scripts that come after the toolkit's own.
    """
    shared = [asset(__package__, name) for name in ("base.css", "grid.css")]
    style = "\n".join([_group_colours(), *shared, *styles])
    script = "\n".join([asset(__package__, "base.js"), *scripts])
    head = (
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_policy(style, script)),
        tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name_="color-scheme", content="light dark"),
        tag("meta", name_="referrer", content="no-referrer"),
        tag("title", title),
        tag("style", Html(style)),
    )
    # A module runs when the document is read, in a scope of its own.
    whole = (*body, tag("script", Html(script), type="module"))
    page = tag("html", "\n", tag("head", *head), "\n", tag("body", *whole), "\n", lang="en")
    return f"<!doctype html>\n{page}\n"


def _attribute(key: str, value: Value) -> str:
    """Return an attribute as it is written behind an element's name."""
    name = key.rstrip("_").replace("_", "-")
    if value is None or value is False:
        return ""
    return f" {name}" if value is True else f' {name}="{html.escape(str(value))}"'


def _policy(style: str, script: str) -> str:
    """Return the content security policy of a page with this one style and this one script."""
    allowed = f"style-src {_hash(style)}; script-src {_hash(script)}"
    return f"default-src 'none'; img-src data:; {allowed}; base-uri 'none'; form-action 'none'"


def _hash(text: str) -> str:
    """Return a text's name in a content security policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _group_colours() -> str:
    """Return the colours of the groups of corruptions, the same as in every figure."""
    lines = [f"  --{name}: rgb({r} {g} {b});" for name, (r, g, b) in GROUP_COLOURS.items()]
    return "\n".join([":root {", *lines, "}"])
