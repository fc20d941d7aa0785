"""Finding a title: after a turn that is done, before its stream ends."""

import logging

import trio

from .consult import consult
from .entries import StreamEnded, TitleChanged, TitleSettled
from .events import Changed
from .feeds import TurnFeed
from .ledger import Ledger
from .messages import SetTitle, TitleOutcome
from .record import Record
from .shared import Shared
from .titles import exchange_of, fallback_title, is_automatic, tidied_title, title_request

__all__ = ["Titling", "ask_for_title"]

log = logging.getLogger("actors.session")

TITLE_SECONDS = 15.0


class Titling:
    """The streams of one session's turns that are done but for a title."""

    def __init__(self, ledger: Ledger, shared: Shared) -> None:
        self._ledger = ledger
        self._shared = shared
        self._scopes: dict[str, trio.CancelScope] = {}

    def __len__(self) -> int:
        return len(self._scopes)

    def begin(self, feed: TurnFeed) -> None:
        self._scopes[feed.turn_id] = trio.CancelScope()
        self._ledger.context.start_soon(self._work, feed)

    def stop(self, turn_id: str | None = None) -> None:
        """Give up the search for one, or for all; their streams end."""
        for name, scope in self._scopes.items():
            if turn_id in (None, name):
                scope.cancel()

    async def _work(self, feed: TurnFeed) -> None:
        """Whatever happens, the stream ends."""
        name = feed.session_id
        try:
            with self._scopes[feed.turn_id]:
                found = await self._find()
                title = found.record.title
                feed.put(TitleSettled(name, found.status, found.reason, title, found.raw[:240]))
                if found.status != "skipped":
                    feed.put(TitleChanged(name, title))
        except Exception as error:  # noqa: BLE001 - a title is never worth a turn
            log.warning("%s: no title: %r", name, error)
        finally:
            await self._shared.feeds.end(feed, StreamEnded(name))
            del self._scopes[feed.turn_id]

    async def _find(self) -> TitleOutcome:
        seen = self._ledger.present
        said = await ask_for_title(self._shared, seen)
        return await self._ledger.context.ref.ask(SetTitle(seen, tidied_title(said), said))

    async def set(self, command: SetTitle) -> TitleOutcome:
        """Conditional: whoever chose a title meanwhile has it."""
        record, seen = self._ledger.present, command.seen
        if not command.force and not is_automatic(record):
            reason = "manual_title" if record.manual_title else "already_generated"
            return TitleOutcome("skipped", reason, record, command.raw)
        if _subject(record, command.latest) != _subject(seen, command.latest):
            return TitleOutcome("skipped", "changed_meanwhile", record, command.raw)
        title = command.title or fallback_title(record, latest=command.latest)
        if title is None or title == record.title:
            return TitleOutcome("skipped", "unchanged", record, command.raw)
        by_model = command.title is not None
        fields = {"title": title, "llm_title_generated": by_model, "manual_title": False}
        await self._ledger.commit(Changed(fields, None))
        status = "llm" if by_model else "fallback"
        return TitleOutcome(status, "", self._ledger.present, command.raw)


def _subject(record: Record, latest: bool) -> object:
    """What a title is made for."""
    exchange = exchange_of(record.messages, latest=latest)
    return record.title, record.manual_title, exchange


async def ask_for_title(shared: Shared, record: Record, *, latest: bool = False) -> str:
    """What the model says; nothing if there is none, or if it cannot."""
    if shared.side_agent is None or not shared.model_titles:
        return ""
    try:
        shared.admission.allowance.check(record.owner)
        request = title_request(record, latest=latest)
        return await consult(shared, record, "title", request, TITLE_SECONDS)
    except Exception as error:  # noqa: BLE001 - the door: providers raise anything
        log.info("%s: the model made no title: %r", record.session_id, error)
        return ""
