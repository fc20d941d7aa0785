"""The file of users: their names, passwords, API tokens and logins. Blocks: for a thread.

A command may change it while a server runs on the same directory: whoever changes it holds the lock
of its own, and replaces the file; whoever reads it sees at the next `stat` that it was replaced.
"""

import fcntl
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeVar
from unicodedata import normalize

import msgspec

from actors.stores import replace_file

__all__ = [
    "FILE",
    "SCOPES",
    "Login",
    "Scope",
    "Token",
    "User",
    "UserError",
    "Users",
    "UsersFile",
    "change_users",
    "read_users",
]

FILE = "users.json"
LOCK = "users.lock"
MODE = 0o600
NAME = re.compile(r"[\w.@-]{1,64}")
MOST_LOGINS = 50  # of one user: the oldest goes

Scope = Literal["read", "write", "admin"]
SCOPES: tuple[Scope, ...] = ("read", "write", "admin")

T = TypeVar("T")


class UserError(Exception):
    """It cannot be done, and the text says why."""


class User(msgspec.Struct, frozen=True):
    """`id` stays the same for good: sessions name it as their owner. `password` is a hash."""

    id: str
    name: str
    password: str
    admin: bool
    created_at: float


class Token(msgspec.Struct, frozen=True):
    """What an API client shows. `hash` is all that is kept of it."""

    id: str
    user_id: str
    label: str
    scope: Scope
    hash: str
    created_at: float


class Login(msgspec.Struct, frozen=True):
    """What a browser shows, in its cookie."""

    user_id: str
    hash: str
    created_at: float
    ends_at: float


class Users(msgspec.Struct, frozen=True):
    """The whole file. `removed` are the ids of users that are gone: their sessions are nobody's."""

    version: int = 1
    users: tuple[User, ...] = ()
    removed: tuple[str, ...] = ()
    tokens: tuple[Token, ...] = ()
    logins: tuple[Login, ...] = ()

    def named(self, name: str) -> User | None:
        wanted = _folded(name)
        return next((user for user in self.users if _folded(user.name) == wanted), None)

    def get(self, name: str) -> User:
        """Raises `UserError`."""
        user = self.named(name)
        if user is None:
            raise UserError(f"there is no user {name!r}")
        return user

    def add(self, user: User) -> "Users":
        """The first one is an admin. Raises `UserError`."""
        if NAME.fullmatch(normalize("NFKC", user.name)) is None:
            raise UserError("a name is 1 to 64 letters, digits, dots, dashes, underscores or @")
        if self.named(user.name) is not None:
            raise UserError(f"there is a user {user.name!r} already")
        first = msgspec.structs.replace(user, admin=user.admin or not self.users)
        return msgspec.structs.replace(self, users=(*self.users, first))

    def remove(self, user: User) -> "Users":
        """With all that lets them in. Raises `UserError` for the last admin of several users."""
        left = tuple(each for each in self.users if each.id != user.id)
        if left and not any(each.admin for each in left):
            raise UserError(f"{user.name!r} is the only admin; add another one first")
        without = self._let_in_no_more(user, tokens=True)
        return msgspec.structs.replace(without, users=left, removed=(*self.removed, user.id))

    def with_password(self, user: User, password: str, *, keep_logins: bool = False) -> "Users":
        """Another password ends all logins; the tokens stay."""
        changed = tuple(
            msgspec.structs.replace(each, password=password) if each.id == user.id else each
            for each in self.users
        )
        kept = self if keep_logins else self._let_in_no_more(user, tokens=False)
        return msgspec.structs.replace(kept, users=changed)

    def _let_in_no_more(self, user: User, *, tokens: bool) -> "Users":
        return msgspec.structs.replace(
            self,
            logins=tuple(login for login in self.logins if login.user_id != user.id),
            tokens=tuple(t for t in self.tokens if not tokens or t.user_id != user.id),
        )

    def with_token(self, token: Token) -> "Users":
        return msgspec.structs.replace(self, tokens=(*self.tokens, token))

    def revoke(self, token_id: str) -> "Users":
        """Raises `UserError`."""
        left = tuple(token for token in self.tokens if token.id != token_id)
        if len(left) == len(self.tokens):
            raise UserError(f"there is no token {token_id!r}")
        return msgspec.structs.replace(self, tokens=left)

    def with_login(self, login: Login, now: float) -> "Users":
        """What has ended goes."""
        live = [each for each in self.logins if each.ends_at > now]
        own = [each for each in live if each.user_id == login.user_id]
        gone = {each.hash for each in own[: max(0, len(own) + 1 - MOST_LOGINS)]}
        kept = (each for each in live if each.hash not in gone)
        return msgspec.structs.replace(self, logins=(*kept, login))

    def without_login(self, login_hash: str) -> "Users":
        kept = tuple(each for each in self.logins if each.hash != login_hash)
        return msgspec.structs.replace(self, logins=kept)


def _folded(name: str) -> str:
    return normalize("NFKC", name).casefold()


_decode = msgspec.json.Decoder(Users).decode


def read_users(data_dir: Path) -> Users:
    """Nobody, if there is no file. Raises `UserError` for one that cannot be read."""
    try:
        data = (data_dir / FILE).read_bytes()
    except FileNotFoundError:
        return Users()
    except OSError as error:
        raise UserError(f"the file of users cannot be read: {error.strerror}") from error
    try:
        users = _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UserError(f"the file of users is damaged: {error}") from error
    if users.version != Users().version:
        raise UserError(f"the file of users is of version {users.version}, which is not known here")
    return users


def change_users(data_dir: Path, change: Callable[[Users], Users]) -> Users:
    """Read, change, replace, with the lock held. Raises `UserError` or `OSError`, and then nothing
    has changed.
    """
    with _locked(data_dir):
        before = read_users(data_dir)
        users = change(before)
        if users != before:
            replace_file(data_dir / FILE, msgspec.json.format(msgspec.json.encode(users), indent=2))
    return users


@contextmanager
def _locked(data_dir: Path) -> Iterator[None]:
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(data_dir / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


class UsersFile:
    """The file as it is now, for one `stat` each time."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._path = data_dir / FILE
        self._seen: object = None
        self._users = Users()
        self._error: UserError | None = None

    def read(self) -> Users:
        """Raises `UserError`."""
        seen = self._state()
        if seen != self._seen:
            self._users, self._error = Users(), None
            try:
                self._users = read_users(self._data_dir)
            except UserError as error:
                self._error = error
            self._seen = seen
        if self._error is not None:
            raise self._error
        return self._users

    def _state(self) -> object:
        try:
            status = os.stat(self._path)
        except OSError as error:
            return error.errno
        return status.st_ino, status.st_mtime_ns, status.st_size
