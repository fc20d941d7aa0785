"""Who is let in, by what they show."""

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from uuid import uuid4

import trio

from actors.viewer import Viewer

from .principal import ANYBODY, OWNER_OF_THE_DIRECTORY, Principal, Visit
from .secrets import Passwords, csrf_of, hash_of, new_secret
from .users import Login, User, UserError, Users, UsersFile, change_users

__all__ = ["LOGIN_SECONDS", "Gate", "new_user"]

LOGIN_SECONDS = 30 * 24 * 3600
LOOK_SECONDS = 2.0  # how long what was revoked may go on streaming


class Gate:
    """Closed as soon as there is one user; `always_closed` if it must not be open without.

    `admin_tokens` are hashes of further secrets; who shows one as a bearer token is an admin.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        always_closed: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.admin_tokens: set[str] = set()
        self._data_dir = data_dir
        self._file = UsersFile(data_dir)
        self._always_closed = always_closed
        self._clock = clock
        self._passwords = Passwords()
        self._known = _Known(Users())
        self._open_streams: set[Visit] = set()

    @property
    def closed(self) -> bool:
        """So it is if nobody can say who the users are."""
        try:
            return self._always_closed or bool(self._look().users.users)
        except UserError:
            return True

    def _look(self) -> "_Known":
        users = self._file.read()
        if users is not self._known.users:
            self._known = _Known(users)
        return self._known

    def identify(self, bearer: str | None, cookie: str | None) -> Principal | None:
        """None for who shows nothing, or nothing that counts. Raises `UserError`."""
        if not (self._always_closed or self._look().users.users):
            return ANYBODY
        if bearer is not None:
            return self._by_token(hash_of(bearer))
        return None if cookie is None else self._by_login(cookie)

    def _by_token(self, token_hash: str) -> Principal | None:
        if token_hash in self.admin_tokens:
            return OWNER_OF_THE_DIRECTORY
        known = self._look()
        token = known.tokens.get(token_hash)
        user = None if token is None else known.by_id.get(token.user_id)
        if token is None or user is None:
            return None
        as_admin = user.admin and token.scope == "admin"
        viewer = known.viewer_of(user, as_admin=as_admin)
        return Principal(viewer, user.name, token.scope, token_hash)

    def _by_login(self, secret: str) -> Principal | None:
        known, login_hash = self._look(), hash_of(secret)
        login = known.logins.get(login_hash)
        user = None if login is None else known.by_id.get(login.user_id)
        if login is None or user is None or login.ends_at <= self._clock():
            return None
        viewer = known.viewer_of(user, as_admin=user.admin)
        return Principal(viewer, user.name, "admin", login_hash, csrf_of(secret))

    # -- logging in and out -----------------------------------------------------------------

    async def log_in(self, name: str | None, password: str) -> str | None:
        """The secret of a new login; None if this is not the password of that user. No name will
        do if there is but one user. Raises `UserError`, `TooBusy` or `OSError`.
        """
        users = self._look().users
        user = users.named(name) if name else users.users[0] if len(users.users) == 1 else None
        if not await self._passwords.matches(None if user is None else user.password, password):
            return None
        assert user is not None
        secret, now = new_secret(), self._clock()
        login = Login(user.id, hash_of(secret), now, now + LOGIN_SECONDS)

        def add(users: Users) -> Users:
            same = users.named(user.name)
            # Another password was set while this one was looked at: that one counts.
            return users.with_login(login, now) if same == user else users

        changed = await trio.to_thread.run_sync(partial(change_users, self._data_dir, add))
        return secret if login in changed.logins else None

    async def log_out(self, credential: str) -> None:
        """Raises `UserError` or `OSError`."""

        def remove(users: Users) -> Users:
            return users.without_login(credential)

        await trio.to_thread.run_sync(partial(change_users, self._data_dir, remove))
        self.end_what_was_revoked()

    # -- what is open -----------------------------------------------------------------------

    def streams_of(self, asked: Principal) -> int:
        return sum(
            visit.principal is not None and visit.principal.viewer.owner == asked.viewer.owner
            for visit in self._open_streams
        )

    def stream_begins(self, visit: Visit) -> None:
        self._open_streams.add(visit)

    def stream_ends(self, visit: Visit) -> None:
        self._open_streams.discard(visit)

    def end_what_was_revoked(self) -> None:
        """Streams end with what let their readers in."""
        with suppress(UserError):  # who reads goes on; nobody comes in
            known = self._look()
            for visit in list(self._open_streams):
                if visit.principal is not None and not self._stands(visit.principal, known):
                    visit.scope.cancel()

    def _stands(self, asked: Principal, known: "_Known") -> bool:
        closed = self._always_closed or bool(known.users.users)
        if asked is ANYBODY or not closed:
            return asked is ANYBODY and not closed
        if asked.credential is None:
            return True
        login = known.logins.get(asked.credential)
        return asked.credential in known.tokens or (
            login is not None and login.ends_at > self._clock()
        )

    async def watch(self) -> None:
        """Runs for as long as the server does."""
        while True:
            await trio.sleep(LOOK_SECONDS)
            if self._open_streams:
                self.end_what_was_revoked()


class _Known:
    """The users, by what a request shows."""

    def __init__(self, users: Users) -> None:
        self.users = users
        self.by_id = {user.id: user for user in users.users}
        self.tokens = {token.hash: token for token in users.tokens}
        self.logins = {login.hash: login for login in users.logins}

    def viewer_of(self, user: User, *, as_admin: bool) -> Viewer:
        nobodys = (None, *self.users.removed) if as_admin else ()
        return Viewer(user.id, frozenset({user.id, *nobodys}))


def new_user(name: str, password_hash: str, *, admin: bool) -> User:
    return User(uuid4().hex[:12], name, password_hash, admin, time.time())
