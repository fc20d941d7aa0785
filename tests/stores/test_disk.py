"""A file that is replaced in one step, without a store."""

import errno

import pytest

from actors.stores import RealDisk, replace_file


@pytest.mark.parametrize("name", ["users.json", "0001.log", "none"])
def test_it_is_replaced_and_nothing_else_is_left(tmp_path, name):
    path = tmp_path / name
    (tmp_path / f"{path.stem}.tmp.new").write_bytes(b"of a writer that died")
    for data in (b"old", b"new"):
        replace_file(path, data)
        assert path.read_bytes() == data
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("operation", ["create", "flush", "replace", "flush_directory"])
def test_it_is_the_old_or_the_new_whichever_operation_fails(tmp_path, monkeypatch, operation):
    path = tmp_path / "users.json"
    replace_file(path, b"old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(RealDisk, operation, full)
    with pytest.raises(OSError, match="No space"):
        replace_file(path, b"new")
    assert path.read_bytes() == (b"new" if operation == "flush_directory" else b"old")
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
