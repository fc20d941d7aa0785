"""Titles that nobody wrote: asked of a model, tidied, or made from the first words. Pure."""

import re
from collections.abc import Sequence

from .record import Record, Row
from .transcript import AUTOMATIC_TITLES, text_of, title_from

__all__ = [
    "exchange_of",
    "fallback_title",
    "is_automatic",
    "may_title",
    "tidied_title",
    "title_request",
]

LENGTH = 80
MOST_WORDS = 12
FALLBACK_LENGTH = 60
FALLBACK_WORDS = 4
FALLBACK_LEAST = 2
SNIPPET = 500

INSTRUCTIONS = (
    "Write a title of three to six words for the conversation below, in its language. "
    "Answer with the title alone: no quotes, no markup, no full stop."
)

_THINKING = re.compile(r"<(think|thinking|reasoning)>.*?(</\1>|\Z)", re.DOTALL | re.IGNORECASE)
_PREFIX = re.compile(r"^\W*(title|topic|subject)\s*[:\-]\s*", re.IGNORECASE)
_MARKUP = "\"'`*_#\u201c\u201d\u201e\u2018\u2019\u00ab\u00bb \t.:"
_SENTENCE_END = re.compile("[.!?\n\u3002\uff01\uff1f]")
_LEAKED = (
    "the user ",
    "let me",
    "i should",
    "i need to",
    "i'm sorry",
    "i cannot",
    "okay,",
    "sure",
    "here is",
    "here's",
    "as an ai",
)
_ECHOES = frozenset({"ok", "okay", "done", "pong", "yes", "no", "hello", "hi", "title", "untitled"})
_STOP_WORDS = frozenset(
    [
        "the",
        "and",
        "for",
        "are",
        "you",
        "your",
        "with",
        "this",
        "that",
        "from",
        "have",
        "has",
        "had",
        "was",
        "were",
        "will",
        "would",
        "can",
        "could",
        "should",
        "please",
        "what",
        "when",
        "where",
        "which",
        "who",
        "why",
        "how",
        "does",
        "did",
        "not",
        "but",
        "its",
        "it's",
        "into",
        "about",
        "than",
        "then",
        "there",
        "their",
        "them",
        "they",
        "our",
        "out",
        "all",
        "any",
        "some",
        "just",
        "also",
        "let",
    ]
)


def is_automatic(record: Record) -> bool:
    """Nobody chose this title: it is a default, or the beginning of the first prompt."""
    if record.manual_title:
        return False
    if record.title in AUTOMATIC_TITLES or not _is_sound(record.title):
        return True
    return not record.llm_title_generated and record.title == title_from(record.messages)


def may_title(record: Record) -> bool:
    """Automatic, and there is an exchange to take a title from."""
    return is_automatic(record) and exchange_of(record.messages) is not None


def title_request(record: Record, *, latest: bool = False) -> list[Row]:
    """What the model is asked: the first exchange, or the latest, a little of each."""
    asked, answered = exchange_of(record.messages, latest=latest) or ("", "")
    return [
        {"role": "system", "content": INSTRUCTIONS},
        {"role": "user", "content": f"User: {asked}\n\nAssistant: {answered}\n\nTitle:"},
    ]


def tidied_title(said: str) -> str | None:
    """The title in what a model said; None if there is none, or nothing one would want to read."""
    text = _THINKING.sub("", said).strip()
    line = next((line for line in text.splitlines() if line.strip(_MARKUP + "-")), "")
    title = " ".join(_PREFIX.sub("", line).split()).strip(_MARKUP)
    if not title or title.lower() in _ECHOES or not _is_sound(title):
        return None
    if len(title.split()) > MOST_WORDS:
        return None  # a small model that went on to answer
    return title[:LENGTH].strip()


def _is_sound(title: str) -> bool:
    lowered = title.lower()
    return not (lowered.startswith(_LEAKED) or "<think" in lowered or "</think" in lowered)


def fallback_title(record: Record, *, latest: bool = False) -> str | None:
    """Without a model: the first words that carry something."""
    asked, _ = exchange_of(record.messages, latest=latest) or ("", "")
    sentence = _SENTENCE_END.split(asked.strip(), maxsplit=1)[0]
    words: list[str] = []
    for word in re.findall(r"[^\W_][\w'/-]*", sentence):
        if len(word) >= 3 and word.lower() not in _STOP_WORDS | {kept.lower() for kept in words}:
            words.append(word)
    if len(words) < FALLBACK_LEAST:
        return None  # the prompt itself says more
    return " ".join(words[:FALLBACK_WORDS])[:FALLBACK_LENGTH].strip()


def exchange_of(rows: Sequence[Row], *, latest: bool = False) -> tuple[str, str] | None:
    """The first prompt that was answered, or the `latest`, and the first words of its answer."""
    found: tuple[str, str] | None = None
    asked = ""
    for row in rows:
        text = text_of(row.get("content")).strip()
        if row.get("role") == "user" and text:
            asked = text
        elif row.get("role") == "assistant" and text and asked and not row.get("_error"):
            found = asked[:SNIPPET], text[:SNIPPET]
            if not latest:
                return found
            asked = ""
    return found
