"""What lets somebody in: passwords, and secrets that we make ourselves."""

import hashlib
import hmac
import secrets
from functools import partial

import argon2
import trio

from .users import UserError

__all__ = ["Passwords", "TooBusy", "checked_password", "csrf_of", "hash_of", "new_secret"]

AT_ONCE = 2  # each takes 64 MiB and a core
MOST_WAITING = 32
LEAST_LENGTH, MOST_LENGTH = 8, 1024
TOKEN_PREFIX = "grt_"  # so that one that lies about can be found, and is known for what it is


class TooBusy(Exception):
    """So many passwords are being looked at that another one would wait too long."""


class Passwords:
    """Argon2id, in threads, a few at once."""

    def __init__(self) -> None:
        self._hasher = argon2.PasswordHasher()
        self._room = trio.CapacityLimiter(AT_ONCE)
        self._nobodys = ""

    async def matches(self, password_hash: str | None, password: str) -> bool:
        """`password_hash` None: there is no such user. Raises `TooBusy`."""
        if self._room.statistics().tasks_waiting >= MOST_WAITING:
            raise TooBusy
        verify = partial(self._matches, password_hash, password[:MOST_LENGTH])
        return await trio.to_thread.run_sync(verify, limiter=self._room)

    def _matches(self, password_hash: str | None, password: str) -> bool:
        """A user that is not there costs what one that is there does."""
        if password_hash is None and not self._nobodys:
            self._nobodys = self._hasher.hash(secrets.token_urlsafe())
        try:
            right = self._hasher.verify(password_hash or self._nobodys, password)
            return right and password_hash is not None
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False

    def hash(self, password: str) -> str:
        """Blocks."""
        return self._hasher.hash(checked_password(password))


def checked_password(password: str) -> str:
    """Raises `UserError`."""
    if not LEAST_LENGTH <= len(password) <= MOST_LENGTH:
        raise UserError(f"a password has at least {LEAST_LENGTH} characters")
    return password


def new_secret(*, token: bool = False) -> str:
    """256 bits that nobody guesses. A `token` can be told from other text."""
    return (TOKEN_PREFIX if token else "") + secrets.token_urlsafe(32)


def hash_of(secret: str) -> str:
    """All that is kept of a secret of ours. It is random and long: a fast hash will do, and to look
    up the hash of what was shown tells nobody how near it came.
    """
    return hashlib.sha256(secret.encode()).hexdigest()


def csrf_of(login_secret: str) -> str:
    """What the page of a login shows beside its cookie, which it cannot read."""
    return hmac.new(login_secret.encode(), b"csrf", hashlib.sha256).hexdigest()
