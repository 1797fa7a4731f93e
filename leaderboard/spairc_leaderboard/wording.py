"""What text may look like that strangers send: one printable line, bounded, nothing hidden in it.

Names are data. They are shown as text wherever they are shown (the page escapes them) and are never
a path, an address to open, or a thing to import.
"""

import re
import unicodedata
from urllib.parse import urlsplit

from spairc.types import BadInput

MOST_MARKS = 2  # accents on one letter; more of them climb over the lines above and below
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_DATE = re.compile(r"20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])", re.ASCII)
_IDENTITY = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*-[0-9a-f]{12}", re.ASCII)
LONGEST_SLUG = 60


def check_line(what: str, text: str, longest: int, *, empty: bool = False) -> None:
    """Check text that is shown: one line of visible characters.

    Args:
        what: Its name, for the message.
        text: What was given.
        longest: In characters.
        empty: Whether it may be left out.

    Raises:
        BadInput: If it is too long, empty, has characters that are not seen (line breaks, escapes,
            writing directions, lone surrogates), is not in Unicode's form NFC, or piles up accents.
    """
    if len(text) > longest or not (text or empty):
        allowed = f"{0 if empty else 1} to {longest} characters"
        raise BadInput(f"{what} has {len(text)} characters; write {allowed}")
    if not text.isprintable():
        raise BadInput(f"{what} is {text!a}: it has characters that cannot be seen; drop them")
    if text != text.strip() or unicodedata.normalize("NFC", text) != text or _piled_up(text):
        raise BadInput(f"{what} is {text!a}: drop spaces at its ends and piled-up accents")


def check_address(what: str, text: str) -> None:
    """Check an https address that a page may link to; it may be left out.

    Raises:
        BadInput: If it is anything else.
    """
    check_line(what, text, 200, empty=True)
    if not text:
        return
    plain = text.isascii() and not set(text) & set(" \"'<>\\^`{|}")
    try:
        parts = urlsplit(text)
        good = plain and parts.scheme == "https" and bool(parts.hostname) and "@" not in text
    except ValueError:
        good = False
    if not good:
        raise BadInput(f"{what} is {text!a}; write an address that begins with https://")


def check_sha256(what: str, text: str) -> None:
    """Check a SHA-256 digest: 64 hexadecimal digits in lower case.

    Raises:
        BadInput: If it is none.
    """
    if not _SHA256.fullmatch(text):
        raise BadInput(f"{what} is {text[:70]!a}; it must be 64 hexadecimal digits")


def check_date(what: str, text: str) -> None:
    """Check a day as 2026-11-20.

    Raises:
        BadInput: If it is none.
    """
    if not _DATE.fullmatch(text):
        raise BadInput(f"{what} is {text[:20]!a}; write year-month-day")


def is_identity(text: str) -> bool:
    """Return whether this may be the name of an entry's folder: `resnet-101-0f3a12bc99de`."""
    return len(text) <= LONGEST_SLUG + 13 and _IDENTITY.fullmatch(text) is not None


def identity(name: str, content: str) -> str:
    """Return the name of an entry's folder.

    Args:
        name: Of the model; only its letters a to z and digits are used.
        content: SHA-256 of the predictions.
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain)[:LONGEST_SLUG].strip("-")
    return f"{slug or 'model'}-{content[:12]}"


def _piled_up(text: str) -> bool:
    """Return whether a letter carries more accents than any language gives it."""
    run = 0
    for character in text:
        run = run + 1 if unicodedata.category(character) in ("Mn", "Me") else 0
        if run > MOST_MARKS:
            return True
    return False
