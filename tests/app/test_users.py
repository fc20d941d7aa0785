"""The file of users, and the commands that change it."""

import json
import os
import subprocess
import sys
import threading

import pytest

from actors.stores import RealDisk
from app.authority.gate import new_user
from app.authority.secrets import Passwords, hash_of
from app.authority.users import (
    FILE,
    MOST_LOGINS,
    Login,
    Token,
    UserError,
    Users,
    UsersFile,
    change_users,
    read_users,
)
from app.cli import main
from tests.app.process import environment


def user(name, *, admin=False):
    return new_user(name, "no hash", admin=admin)


def add(directory, *names):
    for name in names:
        change_users(directory, lambda users, name=name: users.add(user(name)))
    return read_users(directory)


def test_the_first_user_is_an_admin_and_the_next_is_not(tmp_path):
    users = add(tmp_path, "Ann", "bob")
    assert [(each.name, each.admin) for each in users.users] == [("Ann", True), ("bob", False)]
    assert users.get("ANN") == users.users[0]


@pytest.mark.parametrize("name", ["", "two words", "a/b", "x" * 65, "a\n", "\uff21\uff2e\uff2e"])
def test_a_name_that_is_none_or_is_taken_is_refused_and_nothing_changes(tmp_path, name):
    before = add(tmp_path, "ann")
    with pytest.raises(UserError):
        add(tmp_path, name)
    assert read_users(tmp_path) == before


def test_who_is_removed_leaves_nothing_that_lets_them_in(tmp_path):
    users = add(tmp_path, "ann", "bob")
    bob = users.get("bob")
    users = users.with_token(Token("t", bob.id, "", "read", "hash", 0.0))
    users = users.with_login(Login(bob.id, "h", 0.0, 9e9), 1.0)
    users = users.remove(bob)
    assert (users.tokens, users.logins, users.removed) == ((), (), (bob.id,))
    users = users.add(user("cid"))
    with pytest.raises(UserError, match="only admin"):
        users.remove(users.get("ann"))


def test_another_password_ends_logins_and_leaves_tokens(tmp_path):
    users = add(tmp_path, "ann", "bob")
    ann, bob = users.users
    for each in (ann, bob):
        users = users.with_login(Login(each.id, f"of {each.name}", 0.0, 9e9), 1.0)
    users = users.with_token(Token("t", ann.id, "", "read", "hash", 0.0))
    changed = users.with_password(ann, "another")
    assert changed.get("ann").password == "another"
    assert [login.hash for login in changed.logins] == ["of bob"]
    assert changed.tokens == users.tokens


def test_logins_that_have_ended_and_the_oldest_of_too_many_go():
    users = Users().with_login(Login("a", "ended", 0.0, 5.0), 1.0)
    for n in range(MOST_LOGINS + 1):
        users = users.with_login(Login("a", f"h{n}", 10.0, 99.0), 10.0)
    hashes = [login.hash for login in users.logins]
    assert hashes == [f"h{n}" for n in range(1, MOST_LOGINS + 1)]


def test_the_file_is_for_its_owner_and_replaced_as_a_whole(tmp_path, monkeypatch):
    add(tmp_path, "ann")
    assert os.stat(tmp_path / FILE).st_mode & 0o777 == 0o600
    before = (tmp_path / FILE).read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RealDisk, "flush", full)
    with pytest.raises(OSError, match="No space"):
        add(tmp_path, "bob")
    assert (tmp_path / FILE).read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [FILE, "users.lock"]


def test_changes_at_the_same_time_are_all_made(tmp_path):
    names = [f"user{n}" for n in range(20)]
    threads = [threading.Thread(target=add, args=(tmp_path, name)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(each.name for each in read_users(tmp_path).users) == sorted(names)


def test_a_reader_sees_each_change_and_what_was_damaged_lets_nobody_in(tmp_path):
    file = UsersFile(tmp_path)
    assert file.read() == Users()
    users = add(tmp_path, "ann")
    assert file.read() == users
    assert file.read() is file.read()
    for damage in (b"{", b"[]", b'{"version": 2}', b"\xff"):
        (tmp_path / FILE).write_bytes(damage)
        with pytest.raises(UserError):
            file.read()
        with pytest.raises(UserError):
            add(tmp_path, "bob")
        assert (tmp_path / FILE).read_bytes() == damage
        (tmp_path / FILE).unlink()
        assert file.read() == Users()


# -- the commands -------------------------------------------------------------------------------


def run(directory, *arguments, password=None):
    """Of a process of its own: gives its exit code, stdout and stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "app", *arguments],
        input=None if password is None else f"{password}\n",
        env=environment(directory),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def said(tmp_path, monkeypatch, capsys):
    """The command in this process."""
    monkeypatch.setenv("GREENROOM_DATA_DIR", str(tmp_path))

    def say(*arguments):
        code = main(arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return say


@pytest.mark.process
def test_a_user_is_added_with_a_password_that_is_nowhere_to_be_read(tmp_path):
    arguments = ("user", "add", "ann", "--password-stdin")
    assert run(tmp_path, *arguments, password="short") == (
        2,
        "",
        "greenroom: error: a password has at least 8 characters\n",
    )
    code, out, err = run(tmp_path, *arguments, password="correct horse")
    assert (code, err) == (0, "")
    assert out == "ann is an admin now.\nFrom now on nobody gets in without a password.\n"
    assert "correct horse" not in (tmp_path / FILE).read_text()
    kept = read_users(tmp_path).get("ann").password
    assert kept.startswith("$argon2id$")
    code, out, err = run(tmp_path, "user", "passwd", "ann", "--password-stdin", password="x" * 9)
    assert (code, out) == (0, "ann has another password, and is logged out everywhere.\n")
    assert read_users(tmp_path).get("ann").password != kept


def test_users_are_listed_and_removed(tmp_path, said):
    assert "There are no users" in said("user", "list")[2]
    add(tmp_path, "ann", "bob")
    code, out, _ = said("user", "list")
    assert [line.split()[:2] for line in out.splitlines()][1] == ["ann", "yes"]
    assert said("user", "remove", "bob")[:2] == (0, "bob is gone.\n")
    assert said("user", "remove", "bob") == (2, "", "greenroom: error: there is no user 'bob'\n")
    code, out, _ = said("user", "remove", "ann")
    assert (code, out.splitlines()[0]) == (0, "ann is gone.")
    assert "open to all" in out


def test_a_token_is_shown_once_and_kept_as_a_hash(tmp_path, said):
    add(tmp_path, "ann", "bob")
    code, out, err = said("token", "create", "bob", "--scope", "read", "--label", "backups")
    secret = out.strip()
    assert (code, err.splitlines()[0][-41:]) == (0, "may read. Keep it: it is not shown again.")
    (token,) = read_users(tmp_path).tokens
    assert (token.hash, token.scope, token.label) == (hash_of(secret), "read", "backups")
    assert secret not in (tmp_path / FILE).read_text()
    _, listed, _ = said("token", "list")
    assert listed.splitlines()[1].split()[:3] == [token.id, "bob", "read"]
    assert secret not in listed
    assert token.hash not in listed
    code, _, err = said("token", "create", "bob", "--scope", "admin")
    assert (code, err) == (
        2,
        "greenroom: error: 'bob' is no admin, so no token of theirs can be one\n",
    )
    assert said("token", "revoke", token.id) == (0, f"Token {token.id} is revoked.\n", "")
    assert read_users(tmp_path).tokens == ()
    assert said("token", "revoke", token.id)[0] == 2


def test_a_file_that_is_damaged_is_left_as_it_is(tmp_path, said):
    (tmp_path / FILE).write_text(json.dumps({"users": 1}))
    code, _, err = said("user", "list")
    assert code == 2
    assert err.startswith("greenroom: error: the file of users is damaged: ")


@pytest.mark.process
@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_an_address_for_others_needs_a_user(tmp_path, host):
    code, out, err = run(tmp_path, "--host", host)
    assert (code, out) == (2, "")
    assert err == (
        f"greenroom: error: {host} can be reached from other machines, and nobody has a password"
        f" yet; add a user first: greenroom user add NAME --data-dir {tmp_path}\n"
    )


async def test_a_password_is_looked_at_as_long_if_nobody_has_it(monkeypatch):
    passwords = Passwords()
    looked = []
    verify = passwords._hasher.verify
    kept = passwords.hash("correct horse")

    class Hasher:
        hash = staticmethod(passwords._hasher.hash)

        @staticmethod
        def verify(password_hash, password):
            looked.append(password_hash.split("$")[:4])
            return verify(password_hash, password)

    passwords._hasher = Hasher
    assert await passwords.matches(kept, "correct horse")
    assert not await passwords.matches(kept, "wrong")
    assert not await passwords.matches(None, "wrong")
    assert looked == [looked[0]] * 3
