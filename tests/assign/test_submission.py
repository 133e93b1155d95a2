"""Submissions: every file is read, or refused with a message."""

import gzip
import io
import os
import tarfile
import zipfile

import numpy as np
import pytest

from tests.assign.toy import MASTER
from tinycnn.assign import submission
from tinycnn.assign.task import AssignmentError

GOOD = MASTER.encode()


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(files, kind="gz"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{kind}") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def write(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


@pytest.mark.parametrize(
    ("files", "note"),
    [
        ({"ada/toy.py": GOOD}, ""),
        ({"ada/A99/deep/toy.py": GOOD, "ada/README.md": b"hello"}, ""),
        ({"ada.py": GOOD}, "the file is called ada.py, expected toy.py"),
        ({"ada/toy-1.py": GOOD}, "the file is called toy-1.py, expected toy.py"),
        ({"ada/Toy.py": GOOD, "ada/scratch.py": b"x"}, "the file is called Toy.py"),
        ({"ada/solution.py": GOOD, "ada/public.py": b"x"}, "the file is called solution.py"),
        ({"ada/toy.py": GOOD, "ada/copy/toy.py": b"x"}, "there are 2 files toy.py; toy.py was graded"),
        ({"ada.zip": zipped({"toy.py": GOOD})}, ""),
        ({"ada.zip": zipped({"A99/toy.py": GOOD, "__MACOSX/toy.py": b"x", ".DS_Store": b"x"})}, ""),
        ({"ada.tar.gz": tarred({"work/toy.py": GOOD})}, ""),
    ],
)
def test_a_file_is_found_where_people_put_it(toy, tmp_path, files, note):
    folder = write(tmp_path / "in", files)
    ((student, path),) = submission.collect(folder).items()
    read = submission.read(path, toy, student)
    assert student == "ada" and read.source == GOOD
    assert note in " ".join(read.notes) and bool(note) == bool(read.notes)


@pytest.mark.parametrize(
    ("files", "note"),
    [
        ({"ada/toy.py": b" \n"}, "toy.py is empty"),
        ({"ada/toy.ipynb": b'{"nbformat": 4}'}, "a notebook was handed in, expected toy.py"),
        ({"ada/toy.py": b'{"cells": [], "nbformat": 4}'}, "a notebook was handed in"),
        ({"ada/toy.py": MASTER.encode("utf-16")}, "encoded as UTF-16; save it as UTF-8"),
        ({"ada/toy.py": b"PK\x03\x04" + bytes(50)}, "not text, expected a Python script"),
        ({"ada/toy.py": b"x = 1\0"}, "not text"),
        ({"ada/toy.py": b"#" * 300_000}, "more than 200 kB"),
        ({"ada/a.py": b"1", "ada/b.py": b"1"}, "there is no toy.py; what was handed in: a.py, b.py"),
        ({"ada/report.pdf": b"%PDF"}, "there is no toy.py; what was handed in: report.pdf"),
        ({"ada.zip": b"not a zip"}, "ada.zip cannot be read"),
        ({"ada.tar.gz": b"\x1f\x8bno"}, "ada.tar.gz cannot be read"),
        ({"ada.zip": zipped({"../toy.py": GOOD})}, "there is no toy.py"),
        ({"ada.zip": zipped({"/toy.py": GOOD, "a/../toy.py": GOOD, "C:/toy.py": GOOD})}, "there is no toy.py"),
        ({"ada.zip": zipped({"toy.py": b"#" * 300_000})}, "more than 200 kB"),
        ({"ada.zip": zipped({f"{n}.txt": b"" for n in range(2100)})}, "more than 2000 files"),
        ({"ada.zip": zipped({})}, "there is no toy.py; what was handed in: nothing"),
    ],
)
def test_what_cannot_be_graded_says_why(toy, tmp_path, files, note):
    ((student, path),) = submission.collect(write(tmp_path / "in", files)).items()
    read = submission.read(path, toy, student)
    assert read.source is None and note in read.notes[-1]


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.bz2", "tar.xz"])
def test_an_archive_that_is_broken_anywhere_is_refused_in_one_line(toy, tmp_path, kind):
    rng, path = np.random.default_rng(0), tmp_path / f"ada.{kind}"
    good = zipped({"toy.py": GOOD}) if kind == "zip" else tarred({"toy.py": GOOD}, kind.partition(".")[2])
    refused = 0
    for _ in range(300):
        broken = np.frombuffer(good, np.uint8).copy()
        broken[rng.integers(len(broken), size=3)] ^= rng.integers(1, 256, 3).astype(np.uint8)
        path.write_bytes(broken.tobytes()[: int(rng.integers(len(broken) // 2, len(broken) + 1))])
        read = submission.read(path, toy)
        refused += read.source is None
        assert read.source is not None or (read.notes and "\n" not in read.notes[-1])
    assert refused > 100


def test_a_header_is_not_read_without_a_limit(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(submission, "_MOST_UNPACKED", 2**20)
    member = tarfile.TarInfo("toy.py")
    member.type, member.size = tarfile.XHDTYPE, 2**30  # says so, and tarfile would take the memory
    (tmp_path / "ada.tar.gz").write_bytes(gzip.compress(member.tobuf() + bytes(2**21)))
    assert "there are more than 1 MB in ada.tar.gz" in submission.read(tmp_path / "ada.tar.gz", toy).notes[0]


def test_links_and_pipes_are_not_followed(toy, tmp_path):
    folder = tmp_path / "in"
    (folder / "ada").mkdir(parents=True)
    try:
        (folder / "ada" / "toy.py").symlink_to(toy.master)
        (folder / "bob").symlink_to(toy.folder)
    except OSError:
        pytest.skip("no links here")
    for path in (folder / "ada", folder / "bob"):
        assert submission.read(path, toy).source is None
    if hasattr(os, "mkfifo"):
        (folder / "cyd").mkdir()
        os.mkfifo(folder / "cyd" / "toy.py")
        assert submission.read(folder / "cyd", toy).source is None


def test_students_are_folders_files_and_archives_and_two_of_one_name_stay_two(tmp_path):
    names = ("ada/toy.py", "bob.py", "cyd.zip", "dan.tar.gz", "ada.py", ".hidden", "__MACOSX/x")
    found = submission.collect(write(tmp_path, dict.fromkeys(names, b"x")))
    assert sorted(found) == ["ada", "ada.py", "bob", "cyd", "dan"]


def test_a_folder_without_submissions_is_an_error(tmp_path):
    with pytest.raises(AssignmentError, match="is empty"):
        submission.collect(tmp_path)
    with pytest.raises(AssignmentError, match="nowhere"):
        submission.collect(tmp_path / "nowhere")
