"""`greenroom backup` and `restore`: what was accepted before is in it, and nothing by half."""

import io
import os
import tarfile
from contextlib import aclosing
from functools import partial
from itertools import count

import msgspec
import pytest
import trio

from actors.greenroom import open_greenroom
from actors.session.messages import GetSession
from actors.stores import open_record_store, own_directory
from app.authority.users import Login, Users, change_users
from app.backup import MANIFEST, BadBackup, Manifest, Snapshot, files_of, restore, tar_of
from app.cli import main
from tests.app.client import open_client
from tests.app.process import running_server

TALKERS = 6
BACKUPS = 3


@pytest.fixture(autouse=True)
def _umask():
    """The commands change it for the process."""
    before = os.umask(0o022)
    yield
    os.umask(before)


class Talker:
    """Has one turn after the other in a session, and remembers what it was told."""

    def __init__(self, client, session_id, name, tell):
        self.client, self.session_id, self.name, self.tell = client, session_id, name, tell
        self.accepted: list[str] = []
        self.shown: dict[str, str] = {}  # by prompt

    async def talk(self):
        for n in count():
            prompt = f"{self.name}.{n} slow"[: None if n % 2 else -5]
            stream_id = await self.client.start(self.session_id, prompt)
            self.accepted.append(prompt)
            self.shown[prompt] = ""
            self.tell.send_nowait(prompt)
            async with aclosing(self.client.follow(stream_id)) as events:
                async for event in events:
                    if event.name == "token":
                        self.shown[prompt] += event.data["text"]
                        if len(self.shown[prompt]) > 80:
                            await self.client.cancel(stream_id)

    def told(self):
        return self.session_id, list(self.accepted), dict(self.shown)


async def silent(turn, emit):
    raise AssertionError("nobody asks")


def answers_in(record):
    """What was said after each prompt."""
    answers, prompt = {}, None
    for row in record.messages:
        if row["role"] == "user":
            prompt = row["content"]
            answers[prompt] = ""
        elif row["role"] == "assistant" and not row.get("_error"):
            answers[prompt] += row["content"]
    return answers


@pytest.mark.process
async def test_a_backup_of_a_running_server_has_all_that_was_accepted_before(tmp_path, capsys):
    data = tmp_path / "data"
    run = partial(trio.to_thread.run_sync, main)
    told = []
    async with running_server(data) as server, open_client(server.url) as client:
        tell, prompts = trio.open_memory_channel[str](1000)
        talkers = [Talker(client, await client.new(), f"t{n}", tell) for n in range(TALKERS)]
        async with trio.open_nursery() as nursery:
            for talker in talkers:
                nursery.start_soon(talker.talk)
            for n in range(BACKUPS):
                with trio.fail_after(60):
                    for _ in range(TALKERS):
                        await prompts.receive()
                told.append([talker.told() for talker in talkers])
                assert await run(["backup", str(data), str(tmp_path / f"{n}.tar")]) == 0
            nursery.cancel_scope.cancel()
        assert (await client.http.head("/api/backup")).status_code == 200
        foreign = {"Origin": "http://elsewhere.example"}
        assert (await client.http.get("/api/backup", headers=foreign)).status_code == 403
        assert list(data.glob(".backup.*")) == []
    assert any(text for _, _, shown in told[-1] for text in shown.values())
    for n, before in enumerate(told):
        place = tmp_path / f"restored {n}"
        assert await run(["restore", str(tmp_path / f"{n}.tar"), str(place)]) == 0
        assert "No damage." in capsys.readouterr().out
        async with open_greenroom(place, silent) as greenroom:
            for session_id, accepted, shown in before:
                record = (await greenroom.session(session_id).ask(GetSession())).record
                answers = answers_in(record)
                assert [prompt for prompt in accepted if prompt not in answers] == []
                for prompt in accepted:
                    assert answers[prompt].startswith(shown[prompt])


async def test_what_is_changed_while_a_snapshot_is_made_is_in_it_as_it_was(tmp_path):
    (tmp_path / "projects.json").write_bytes(b"[]")
    async with open_record_store(tmp_path / "sessions") as store:
        for name in ("saved", "grown", "deleted", "aside", "same"):
            await store.save(name, b"before")
        async with store.held():
            snapshot = Snapshot(tmp_path)
            store.before_change(snapshot.keep)
        await store.save("saved", b"after")
        await store.save("saved", b"and again")
        await store.append("grown", b" and after", 6)
        await store.delete("deleted")
        await store.set_aside("aside")
        await store.save("new", b"after")
        assert not snapshot.complete
        while not snapshot.complete:
            await store.between_writes(snapshot.keep_some)
        store.before_change(None)
        (tmp_path / "projects.json").unlink()
        made = b"".join(tar_of(snapshot.files))
    place = tmp_path / "restored"
    assert restore(io.BytesIO(made), place).files == 6
    found = {path.name: path.read_bytes() for path in (place / "sessions").iterdir()}
    names = ("saved", "grown", "deleted", "aside", "same")
    assert found == {f"{name}.json": b"before" for name in names}
    assert (place / "projects.json").read_bytes() == b"[]"


@pytest.fixture
def data(tmp_path):
    directory = tmp_path / "data"
    (directory / "sessions").mkdir(parents=True)
    (directory / "sessions" / "a.json").write_bytes(b"{}")
    (directory / "projects.json").write_bytes(b"[]" * 5000)
    (directory / "empty").touch()
    for left_out in ("greenroom.lock", "server.json", "search.sqlite-wal", "x.tmp.1"):
        (directory / left_out).touch()
    (directory / "models").mkdir()
    (directory / "models" / "model.gguf").touch()
    return directory


def tar(data):
    return b"".join(tar_of(files_of(data)))


def test_it_is_a_tar_of_what_cannot_be_made_again(data, tmp_path):
    place = tmp_path / "new" / "place"
    os.umask(0)
    manifest = restore(io.BytesIO(tar(data)), place)
    found = {p.relative_to(place).as_posix(): p for p in place.rglob("*")}
    assert sorted(found) == ["empty", "projects.json", "sessions", "sessions/a.json"]
    assert (manifest.files, manifest.bytes) == (3, 10002)
    assert found["projects.json"].read_bytes() == b"[]" * 5000
    assert {p.stat().st_mode & 0o777 for p in found.values() if p.is_file()} == {0o600}
    assert {p.stat().st_mode & 0o777 for p in (place, found["sessions"])} == {0o700}


def test_of_a_cut_backup_nothing_is_restored(data, tmp_path):
    whole = tar(data)
    place = tmp_path / "place"
    for size in range(0, len(whole) - 1024, 512):
        with pytest.raises(BadBackup):
            restore(io.BytesIO(whole[:size]), place)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def with_members(*members):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return made.getvalue()


def manifest_of(**other):
    said = {"format": 1, "version": "9", "made_at": 0.0, "files": 1, "bytes": 1} | other
    return tarfile.TarInfo(MANIFEST), msgspec.json.encode(msgspec.convert(said, Manifest))


def special(kind):
    info = tarfile.TarInfo("sessions/a.json")
    info.type, info.linkname = kind, "/etc/passwd"
    return info, b""


@pytest.mark.parametrize(
    "hostile",
    [
        (manifest_of(), (tarfile.TarInfo("../escaped"), b"x")),
        (manifest_of(), (tarfile.TarInfo("/escaped"), b"x")),
        (manifest_of(), (tarfile.TarInfo("sessions/../../escaped"), b"x")),
        (manifest_of(), special(tarfile.SYMTYPE)),
        (manifest_of(), special(tarfile.LNKTYPE)),
        (manifest_of(), special(tarfile.FIFOTYPE)),
        (manifest_of(format=2), (tarfile.TarInfo("a"), b"x")),
        (manifest_of(files=2), (tarfile.TarInfo("a"), b"x")),
        (manifest_of(bytes=2), (tarfile.TarInfo("a"), b"x")),
        ((tarfile.TarInfo("a"), b"x"),),
    ],
)
def test_what_is_no_backup_of_ours_is_refused(hostile, tmp_path):
    with pytest.raises((BadBackup, OSError)):
        restore(io.BytesIO(with_members(*hostile)), tmp_path / "a" / "place")
    assert [path for path in tmp_path.rglob("*") if path.name != "a"] == []


def test_nothing_is_overwritten(data, tmp_path, capsys):
    file = tmp_path / "b.tar"
    assert main(["backup", str(data), str(file)]) == 0
    assert file.stat().st_mode & 0o777 == 0o600
    made = file.read_bytes()
    assert main(["backup", str(data), str(file)]) == 2
    assert "--force replaces it" in capsys.readouterr().err
    assert file.read_bytes() == made
    assert main(["restore", str(file), str(data)]) == 2
    assert "already" in capsys.readouterr().err
    assert main(["backup", str(data), str(file), "--force"]) == 0


def test_a_directory_that_somebody_else_has_is_not_read_behind_his_back(data, tmp_path, capsys):
    with own_directory(data):
        assert main(["backup", str(data), str(tmp_path / "b.tar")]) == 2
    assert "no server to be asked" in capsys.readouterr().err
    assert list(tmp_path.glob("b.tar*")) == []


def test_users_that_change_meanwhile_are_in_it_as_they_were_or_as_they_are(tmp_path, monkeypatch):
    """A command or a login replaces the file, whoever makes a backup."""

    def logged_in(users):
        login = Login("id", f"{len(users.logins):064}", 0.0, 1e12)
        return users.with_login(login, 0.0)

    (tmp_path / "sessions").mkdir()
    for _ in range(3):
        change_users(tmp_path, logged_in)
    (tmp_path / "users.tmp.new").write_bytes(b"{")  # what is being written
    link = os.link

    def replaced_before(source, target):
        if source.name == "users.json":
            (tmp_path / "users.tmp.new").unlink()
            change_users(tmp_path, logged_in)
        link(source, target)

    monkeypatch.setattr(os, "link", replaced_before)
    snapshot = Snapshot(tmp_path)
    (file,) = snapshot.files
    assert file.name == "users.json"
    assert len(msgspec.json.decode(file.path.read_bytes()[: file.size], type=Users).logins) == 4
