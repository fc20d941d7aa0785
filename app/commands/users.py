"""`greenroom user` and `greenroom token`: who may, also while a server runs."""

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import click

from ..authority.users import SCOPES, Scope, Token, UserError, Users, change_users, read_users
from .directory import data_dir_option

__all__ = ["token", "user"]

T = TypeVar("T")

password_option = click.option(
    "--password-stdin", is_flag=True, help="Take the password from standard input, not by asking."
)


@click.group()
def user() -> None:
    """Add, list and remove those who may log in.

    With the first one nobody gets in without a password any more; that one is an admin.
    """


@user.command()
@click.argument("name")
@click.option("--admin", is_flag=True, help="May see what is nobody's, and the whole inspector.")
@password_option
@data_dir_option
def add(name: str, admin: bool, password_stdin: bool, data_dir: Path) -> None:
    """Add a user."""
    from ..authority.gate import new_user

    made = new_user(name, "", admin=admin)
    _try(lambda: read_users(data_dir).add(made))  # before the password is asked for
    made = new_user(name, _hashed(password_stdin), admin=admin)
    users = _change(data_dir, lambda users: users.add(made))
    kind = "an admin" if users.get(name).admin else "a user"
    click.echo(f"{name} is {kind} now.")
    if len(users.users) == 1:
        click.echo("From now on nobody gets in without a password.")


@user.command("list")
@data_dir_option
def list_users(data_dir: Path) -> None:
    """List the users."""
    users = _try(partial(read_users, data_dir))
    _table(
        ("NAME", "ADMIN", "SINCE", "LOGINS", "TOKENS"),
        [
            (
                each.name,
                "yes" if each.admin else "",
                _day(each.created_at),
                str(sum(login.user_id == each.id for login in users.logins) or ""),
                str(sum(token.user_id == each.id for token in users.tokens) or ""),
            )
            for each in users.users
        ],
        nothing="There are no users: whoever is on this machine may use the server.",
    )


@user.command()
@click.argument("name")
@data_dir_option
def remove(name: str, data_dir: Path) -> None:
    """Remove a user, with logins and tokens. What they said stays, for an admin to see."""
    users = _change(data_dir, lambda users: users.remove(users.get(name)))
    click.echo(f"{name} is gone.")
    if not users.users:
        click.echo("That was the last one: a server on this machine is open to all who are on it.")


@user.command()
@click.argument("name")
@password_option
@data_dir_option
def passwd(name: str, password_stdin: bool, data_dir: Path) -> None:
    """Give a user another password. This ends all logins of that user; tokens stay."""
    _try(lambda: read_users(data_dir).get(name))
    hashed = _hashed(password_stdin)
    _change(data_dir, lambda users: users.with_password(users.get(name), hashed))
    click.echo(f"{name} has another password, and is logged out everywhere.")


@click.group()
def token() -> None:
    """Create, list and revoke tokens for programs: Authorization: Bearer TOKEN."""


@token.command()
@click.argument("user_name", metavar="USER")
@click.option("--scope", type=click.Choice(SCOPES), default="write", show_default=True)
@click.option("--label", default="", help="What it is for.")
@data_dir_option
def create(user_name: str, scope: Scope, label: str, data_dir: Path) -> None:
    """Create a token of a user. It is shown this once, on standard output."""
    from ..authority.secrets import hash_of, new_secret

    secret, token_id = new_secret(token=True), uuid4().hex[:8]

    def change(users: Users) -> Users:
        owner = users.get(user_name)
        if scope == "admin" and not owner.admin:
            raise UserError(f"{user_name!r} is no admin, so no token of theirs can be one")
        made = Token(token_id, owner.id, label[:80], scope, hash_of(secret), time.time())
        return users.with_token(made)

    _change(data_dir, change)
    click.echo(f"Token {token_id} may {_may(scope)}. Keep it: it is not shown again.", err=True)
    click.echo(secret)


@token.command("list")
@data_dir_option
def list_tokens(data_dir: Path) -> None:
    """List the tokens, without what they are."""
    users = _try(partial(read_users, data_dir))
    names = {each.id: each.name for each in users.users}
    _table(
        ("ID", "USER", "SCOPE", "SINCE", "LABEL"),
        [
            (each.id, names.get(each.user_id, ""), each.scope, _day(each.created_at), each.label)
            for each in users.tokens
        ],
        nothing="There are no tokens.",
    )


@token.command()
@click.argument("token_id", metavar="ID")
@data_dir_option
def revoke(token_id: str, data_dir: Path) -> None:
    """Revoke a token: it lets nobody in from now on."""
    _change(data_dir, lambda users: users.revoke(token_id))
    click.echo(f"Token {token_id} is revoked.")


def _hashed(from_stdin: bool) -> str:
    from ..authority.secrets import Passwords, checked_password

    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    return _try(lambda: Passwords().hash(checked_password(password)))


def _change(data_dir: Path, change: Callable[[Users], Users]) -> Users:
    return _try(partial(change_users, data_dir, change))


def _try(work: Callable[[], T]) -> T:
    try:
        return work()
    except UserError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from error


def _may(scope: Scope) -> str:
    return {"read": "read", "write": "read and write", "admin": "do all that an admin may"}[scope]


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(at))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, nothing: str) -> None:
    lines = [head, *rows]
    if len(lines) == 1:
        click.echo(nothing, err=True)
        return
    widths = [max(len(line[n]) for line in lines) for n in range(len(head))]
    for line in lines:
        click.echo("  ".join(map(str.ljust, line, widths)).rstrip())
