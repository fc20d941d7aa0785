"""Plain text for the search: what is indexed, what is asked for, what is shown of a match."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from unicodedata import normalize

__all__ = [
    "Document",
    "body_of",
    "expression_of",
    "folded",
    "is_short",
    "patterns_of",
    "preview",
    "terms_of",
]

TRIGRAM = 3  # characters: what is shorter is not in the index
TERMS = 32
TERM_LENGTH = 100
PREVIEW = 160
BEFORE = 50  # characters of the preview that stand before the match
ELLIPSIS = "…"


@dataclass(frozen=True, slots=True)
class Document:
    """What can be found of one session. A hidden one is not indexed."""

    title: str
    rows: Sequence[str]
    hidden: bool
    owner: str | None = None


def folded(text: str) -> str:
    """One line, and nothing that sqlite cannot hold or ends a text at: no lone surrogate, no NUL.

    Composed, so that an accent is found however it was typed.
    """
    text = text.encode(errors="replace").decode().replace("\0", " ")
    return " ".join(normalize("NFC", text).split())


def body_of(document: Document) -> str:
    """A line for each row. No term holds white space, so no match reaches from row to row."""
    return "\n".join(line for line in map(folded, document.rows) if line)


def terms_of(query: str) -> tuple[str, ...]:
    """The words that must occur. A query beyond all measure finds what its beginning finds."""
    words = dict.fromkeys(word[:TERM_LENGTH] for word in folded(query).split())
    return tuple(words)[:TERMS]


def is_short(term: str) -> bool:
    """Too short for the index; the texts themselves are looked through."""
    return len(term) < TRIGRAM


def expression_of(terms: Sequence[str], columns: Sequence[str]) -> str:
    """FTS5's: each term as a string, in which nothing but the quote has a meaning."""
    quoted = ('"' + term.replace('"', '""') + '"' for term in terms)
    return f"{{{' '.join(columns)}}} : ({' AND '.join(quoted)})"


def patterns_of(term: str) -> tuple[str, ...]:
    """For LIKE with `\\` as its ESCAPE. It folds the case of ASCII alone: we spell the others."""
    spellings = dict.fromkeys("".join(chars) for chars in product(*map(_cases, term)))
    return tuple(f"%{_escaped(spelling)}%" for spelling in spellings)


def _cases(char: str) -> tuple[str, ...]:
    return (char,) if char.isascii() else (char, char.lower(), char.upper(), char.title())


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def preview(body: str, terms: Sequence[str]) -> str:
    """What stands around the first match; the beginning if the match cannot be seen from here."""
    lowered = _lowered(body)
    found = [at for at in (lowered.find(_lowered(term)) for term in terms) if at >= 0]
    start = max(0, min(min(found, default=0) - BEFORE, len(body) - PREVIEW))
    end = start + PREVIEW
    shown = " ".join(body[start:end].split())
    return (ELLIPSIS if start else "") + shown + (ELLIPSIS if end < len(body) else "")


def _lowered(text: str) -> str:
    """Of the same length: this is the one letter that would become two."""
    return text.replace("İ", "i").lower()
