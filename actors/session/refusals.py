"""How a session says no. Whoever gets one of these knows that nothing has changed."""

from actors import Rejected

__all__ = [
    "ApprovalClosed",
    "ApprovalNotFound",
    "BlankMessage",
    "KeyReused",
    "MessageNotWaiting",
    "NotCompressible",
    "NothingToRemove",
    "ReadOnly",
    "SessionBusy",
    "SessionExists",
    "SessionNotFound",
    "ShuttingDown",
    "StaleRevision",
    "StorageFailed",
    "TokensSpent",
    "TooManyTurns",
    "TooManyWaiting",
    "TurnRunning",
]


class SessionNotFound(Rejected):
    """There is none under this key."""


class SessionExists(Rejected):
    """The key is taken; take another."""


class BlankMessage(Rejected):
    """A prompt must say something."""


class TurnRunning(Rejected):
    """One turn at a time. `turn_id` is the one that runs."""

    def __init__(self, turn_id: str) -> None:
        super().__init__(turn_id)
        self.turn_id = turn_id


class SessionBusy(Rejected):
    """A stopped turn has not ended yet. Ask again in a moment."""


class NothingToRemove(Rejected):
    """No prompt in the transcript."""


class StaleRevision(Rejected):
    """The transcript is not the one that was meant."""


class MessageNotWaiting(Rejected):
    """It has had its turn, or was taken back."""


class TooManyWaiting(Rejected):
    """As many messages wait as may. `limit` is their number."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit


class TooManyTurns(Rejected):
    """As many turns of this owner were accepted and have not ended as may be: `limit`."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit


class TokensSpent(Rejected):
    """The owner has used the day's `limit` of tokens. There are more in so many `seconds`."""

    def __init__(self, limit: int, seconds: int) -> None:
        super().__init__(limit, seconds)
        self.limit = limit
        self.seconds = seconds


class ApprovalNotFound(Rejected):
    """Nobody asked for it, or so long ago that it is forgotten."""


class ApprovalClosed(Rejected):
    """It was answered, or its turn did not wait any more. `choice` says what it came to."""

    def __init__(self, choice: str) -> None:
        super().__init__(choice)
        self.choice = choice


class NotCompressible(Rejected):
    """Too little was said, or there is no model to summarise it. Its text says which."""


class KeyReused(Rejected):
    """The key was used for something else."""


class ReadOnly(Rejected):
    """An imported transcript that is only to be read."""


class StorageFailed(Rejected):
    """The change could not be written and was not made. `full`: for want of room."""

    def __init__(self, reason: str, full: bool = False) -> None:
        super().__init__(reason, full)
        self.full = full

    def __str__(self) -> str:
        return str(self.args[0])


class ShuttingDown(Rejected):
    """No new turns: the process is about to end."""
