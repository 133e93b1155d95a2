"""Atomic writes: links, modes, long names, kills and full disks."""

import errno
import os
import stat
import subprocess
import sys

import pytest

from tinycnn.files.atomic import atomic_write

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no modes, locks or links for everybody")


def write(path, data=b"new"):
    with atomic_write(path) as file:
        file.write(data)


@posix
@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_its_target_gets_the_new_bytes(tmp_path, there):
    (tmp_path / "store").mkdir()
    target, link = tmp_path / "store" / "w-1", tmp_path / "w"
    if there:
        target.write_bytes(b"old")
    middle = tmp_path / "middle"
    middle.symlink_to(target)
    link.symlink_to("middle")
    write(link)
    assert link.is_symlink() and middle.is_symlink() and not target.is_symlink()
    assert target.read_bytes() == link.read_bytes() == b"new"
    assert sorted(os.listdir(tmp_path)) == ["middle", "store", "w"] and os.listdir(tmp_path / "store") == ["w-1"]


@posix
def test_a_link_to_itself_is_an_error(tmp_path):
    (tmp_path / "w").symlink_to("w")
    with pytest.raises(OSError, match="cannot write"):
        write(tmp_path / "w")
    assert os.listdir(tmp_path) == ["w"]


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
def test_the_mode_of_the_file_stays(tmp_path, mode):
    path = tmp_path / "w"
    write(path, b"old")
    path.chmod(mode)
    write(path)
    assert stat.S_IMODE(path.stat().st_mode) == mode and path.read_bytes() == b"new"


@pytest.mark.parametrize("length", [200, 244, 255])
def test_names_may_be_as_long_as_the_system_allows(tmp_path, length):
    path = tmp_path / ("n" * length)
    write(path, b"old")
    write(path)
    assert path.read_bytes() == b"new" and os.listdir(tmp_path) == [path.name]


def test_a_folder_is_not_replaced(tmp_path):
    (tmp_path / "w").mkdir()
    with pytest.raises(OSError, match=r"cannot write .*w \(Is a directory\)"):
        write(tmp_path / "w")
    assert (tmp_path / "w").is_dir() and os.listdir(tmp_path) == ["w"]


@posix
def test_a_device_is_written_and_stays_a_device():
    write("/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@posix
def test_the_file_and_then_its_folder_reach_the_disk(tmp_path, monkeypatch):
    synced = []

    def note(number):
        synced.append((stat.S_ISDIR(os.fstat(number).st_mode), sorted(os.listdir(tmp_path))))

    monkeypatch.setattr(os, "fsync", note)
    write(tmp_path / "w")
    assert [folder for folder, _ in synced] == [False, True]
    assert synced[1][1] == ["w"]


KILLED = """
import os, sys
from tinycnn.files.atomic import atomic_write
with atomic_write(sys.argv[1]) as file:
    file.write(b"half")
    file.flush()
    os._exit(9)
"""


@posix
def test_kills_leave_nothing_that_the_next_write_does_not_delete(tmp_path):
    path, other = tmp_path / "w", tmp_path / "v"
    write(path, b"old")
    for _ in range(2):
        assert subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False).returncode == 9
        assert path.read_bytes() == b"old" and len(os.listdir(tmp_path)) == 2
    write(other)
    assert len(os.listdir(tmp_path)) == 3, "the temporary of another path was deleted"
    write(path)
    assert path.read_bytes() == b"new" and sorted(os.listdir(tmp_path)) == ["v", "w"]


@posix
def test_a_writer_that_lives_is_not_disturbed(tmp_path):
    path = tmp_path / "w"
    with atomic_write(path) as first:
        first.write(b"first")
        write(path, b"second")
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first" and os.listdir(tmp_path) == ["w"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, step):
    path = tmp_path / "w"
    write(path, b"old")

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(
        OSError, match=r"cannot write .*w \(No space left on device\); what was there is unchanged"
    ) as e:
        write(path)
    assert e.value.errno == errno.ENOSPC
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["w"]


def test_another_error_in_the_block_passes_and_changes_nothing(tmp_path):
    path = tmp_path / "w"
    write(path, b"old")
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["w"]


def test_without_locks_a_file_is_closed_before_it_is_renamed(tmp_path, monkeypatch):
    """As on Windows, which renames closed files only."""
    replace, opened = os.replace, []

    def closed_only(old, new):
        assert opened[-1].closed
        replace(old, new)

    monkeypatch.setattr("tinycnn.files.atomic.fcntl", None)
    monkeypatch.setattr(os, "replace", closed_only)
    with atomic_write(tmp_path / "w") as file:
        opened.append(file)
        file.write(b"new")
    assert (tmp_path / "w").read_bytes() == b"new"
