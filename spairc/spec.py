"""SPair-C as data: which corruptions, in which order, at which severities, with which draws.

This is `spair-c/1`: its draws and its pixels are fixed, and never change; a correction would be
`spair-c/2`. `tests/same_pixels.json` holds hashes of what it makes of two pictures.

The draws of one cell depend on four things alone. The key is the 8-byte BLAKE2b digest of

    version NUL image key NUL corruption NUL severity

in UTF-8, the version being `spair-c/1`, the severity a decimal digit, and the image key the path of
the picture inside its dataset without its suffix, `/` between its parts, in Unicode NFC. For
`car/2008_000033`, fog at severity 3, it is the bytes 09 88 a7 d9 0c 94 41 3d. docs/definition.md
tells all of it in words from which another language can repeat it: key, draws, formulas, decisions.
"""

import hashlib
import unicodedata
from numbers import Integral

from spairc.lookup import lookup
from spairc.types import CLEAN, BadInput, Condition

VERSION = "spair-c/1"
SEVERITIES = (1, 2, 3, 4, 5)

# The paper's groups and its order of columns ("Match me if you can", ACCV 2024, Table 4).
GROUPS: dict[str, tuple[str, ...]] = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise"),
    "blur": ("defocus_blur", "gaussian_blur"),
    "weather": ("snow", "frost", "fog", "spatter"),
    "digital": ("brightness", "contrast", "saturate", "pixelate", "jpeg_compression"),
}
CORRUPTION_NAMES: tuple[str, ...] = tuple(name for names in GROUPS.values() for name in names)
_PATTERNS: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in CORRUPTION_NAMES},
    **GROUPS,
    "*": CORRUPTION_NAMES,
}
CORRUPTED: tuple[Condition, ...] = tuple(
    Condition(name, severity) for name in CORRUPTION_NAMES for severity in SEVERITIES
)
CONDITIONS: tuple[Condition, ...] = (CLEAN, *CORRUPTED)


def draw_key(image_key: str, corruption: str, severity: int) -> bytes:
    """Return the 8 bytes that fix all random numbers of one corrupted picture."""
    normal = unicodedata.normalize("NFC", image_key)
    parts = (VERSION, normal, corruption, str(severity))
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=8).digest()


def check_severity(severity: int) -> None:
    """Raise BadInput unless the severity is one of the whole numbers 1 to 5."""
    whole = isinstance(severity, Integral) and not isinstance(severity, bool)
    if not whole or severity not in SEVERITIES:
        raise BadInput(f"severity {severity} does not exist; choose from 1, 2, 3, 4, 5")


def parse_condition(text: str) -> Condition:
    """Return the condition that prints as `text`: `clean` or `fog@3`.

    Raises:
        BadInput: If the text is not of that form, or names what does not exist.
    """
    found = parse_conditions(text)
    if len(found) != 1:
        raise BadInput(f"condition {text!r}: write clean, or a corruption and severity: fog@3")
    return found[0]


def parse_conditions(text: str) -> tuple[Condition, ...]:
    """Return the conditions that a pattern means, in the order of the tables.

    `fog@3` is itself; `fog` and `fog@*` are its five severities; `weather@2` is a group; `*@5`
    is every corruption; `all` is clean and the 75 cells.

    Raises:
        BadInput: If the pattern names nothing.
    """
    if text in ("all", "clean"):
        return CONDITIONS if text == "all" else (CLEAN,)
    name, at, severity = text.partition("@")
    names = lookup(_PATTERNS, name, "corruption")
    if not at or severity == "*":
        return tuple(Condition(name, each) for name in names for each in SEVERITIES)
    if not (severity.isascii() and severity.isdigit()):
        raise BadInput(f"condition {text!r}: write clean, or a corruption and severity: fog@3")
    check_severity(int(severity))
    return tuple(Condition(name, int(severity)) for name in names)
