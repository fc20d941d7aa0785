"""`greenroom chat`: ask in the terminal, once or in a conversation."""

import re
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click

from .conversation import Conversation
from .listing import NoSession, latest_id, resolved
from .server import Server, server_options
from .terminal import run

__all__ = ["chat"]

# What can be the beginning of an id, and is hardly ever a word.
SESSION = re.compile(r"(?=.*[0-9]|.{12})[0-9a-f]{4,12}")


@click.command(short_help="Chat in the terminal; with a prompt, ask once.")
@click.argument("words", nargs=-1, metavar="[SESSION_ID] [PROMPT...]")
@click.option("--new", "fresh", is_flag=True, help="A new session; so it is without SESSION_ID.")
@click.option("--last", is_flag=True, help="The session in which something was said last.")
@click.option("--model", metavar="NAME", help="Which model is to answer.")
@click.option("--json", "as_json", is_flag=True, help="Ask once, and write a JSON object.")
@server_options
def chat(
    words: tuple[str, ...],
    fresh: bool,
    last: bool,
    model: str | None,
    as_json: bool,
    url: str | None,
    data_dir: Path,
) -> int:
    """Chat by a server that runs. With PROMPT, or text on stdin, ask once: the answer goes to
    stdout as it comes, and the exit code is 0, or 1 if the turn failed, or 130 if it was stopped.

    A first word of 4 to 12 hexadecimal digits, with a number among them, is taken for the beginning
    of a session's id, but not behind --new or --last. The word "-" stands for stdin.

    A connection that is cut, or a server that is started again, is waited for. Ctrl-C stops the
    answer, and keeps what was said of it.
    """
    if fresh and last:
        raise click.UsageError("--new and --last exclude each other")
    named = bool(words) and not (fresh or last) and SESSION.fullmatch(words[0]) is not None
    prompt = _prompt_of(words[1:] if named else words)
    if prompt is None and as_json:
        raise click.UsageError("--json needs a prompt")
    opening = latest_id if last else partial(_named, name=words[0]) if named else None
    conversation = Conversation(url, data_dir, model, opening, quiet=as_json)
    return conversation.converse() if prompt is None else run(conversation.once, prompt)


async def _named(server: Server, name: str) -> str:
    try:
        return await resolved(server, name)
    except NoSession as error:
        raise click.ClickException(
            f"{error.message}. If that is no id but what you want to say, use --new"
        ) from error


def _prompt_of(words: Sequence[str]) -> str | None:
    """None if a person is to be asked for it."""
    if not words and sys.stdin.isatty():
        return None
    words = words or ("-",)
    stdin = sys.stdin.read() if "-" in words else ""
    text = " ".join(stdin if word == "-" else word for word in words)
    if not text.strip():
        raise click.UsageError("the prompt is empty")
    return text
