"""The cache folder and files that appear whole or not at all."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from avatarzoo.datamodules.cache import (
    atomic,
    capture_folder,
    default_folder,
    digest,
    drop,
    file_hashes,
    keep,
    stamps,
)
from avatarzoo.errors import ConfigError, DataError


def test_default_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AVATARZOO_CACHE", str(tmp_path / "mine"))
    assert default_folder() == tmp_path / "mine"
    monkeypatch.delenv("AVATARZOO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_folder() == tmp_path / "xdg" / "avatarzoo"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder() == tmp_path / ".cache" / "avatarzoo"


def test_captures_of_one_name_have_their_own_folders(tmp_path: Path) -> None:
    a, b = (capture_folder(tmp_path / parent / "head", str(tmp_path / "cache")) for parent in ("x", "y"))
    assert a.is_dir() and a != b and a.parent == b.parent
    assert a == capture_folder(tmp_path / "x" / ".." / "x" / "head", str(tmp_path / "cache"))


def test_the_cache_never_lies_inside_the_capture(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "head", target_is_directory=True)
    for inside in ("head", "head/cache", "link/cache"):
        with pytest.raises(ConfigError, match="lies inside the capture"):
            capture_folder(tmp_path / "head", str(tmp_path / inside))


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot be written .*data\.cache_dir or AVATARZOO_CACHE"):
        capture_folder(tmp_path / "head", str(tmp_path / "file"))


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.bin"
    with pytest.raises(KeyError), atomic(path) as temporary:
        temporary.write_bytes(b"half")
        raise KeyError
    assert list(path.parent.iterdir()) == []
    with atomic(path) as first, atomic(path) as second:
        assert first != second and not path.exists()
        first.write_bytes(b"1")
        second.write_bytes(b"2")
    assert path.read_bytes() == b"1" and list(path.parent.iterdir()) == [path]


def test_digests_tell_values_apart() -> None:
    assert digest([1, 2], "a") == digest((1, 2), "a") != digest([1], [2], "a")
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})


def test_stamps_change_with_size_and_time(tmp_path: Path) -> None:
    path = tmp_path / "f"
    assert stamps([path]) == [(str(path), -1, -1)]
    path.write_bytes(b"abc")
    before = stamps([path])
    os.utime(path, ns=(1, 1))
    assert before[0][:2] == (str(path), 3) and stamps([path]) == [(str(path), 3, 1)]


def test_hashes_are_remembered_until_a_file_changes(tmp_path: Path) -> None:
    root, memory = tmp_path / "root", tmp_path / "hashes.json"
    root.mkdir()
    (root / "a").write_bytes(b"1")
    (root / "b").write_bytes(b"2")
    os.utime(root / "a", ns=(5, 5))
    files = [root / "a", root / "b", root / "absent"]

    def hashes() -> dict[str, str]:
        return file_hashes(root, files, memory, lambda items, title: items)

    first = hashes()
    assert first == {name: hashlib.sha256(data).hexdigest() for name, data in (("a", b"1"), ("b", b"2"))}
    (root / "a").write_bytes(b"9")
    os.utime(root / "a", ns=(5, 5))
    assert hashes() == first, "same size and time: taken from memory"
    os.utime(root / "a", ns=(6, 6))
    assert hashes()["a"] == hashlib.sha256(b"9").hexdigest()


def test_only_files_unused_for_long_are_dropped(tmp_path: Path) -> None:
    """A file another run may still read stays; keeping one marks it as used now."""
    fresh, old, kept = (tmp_path / name for name in ("fresh", "old", "kept"))
    for file in (fresh, old, kept):
        file.write_text("x")
    for file in (old, kept):
        os.utime(file, (0, 0))
    keep([kept, tmp_path / "absent"])
    drop([fresh, old, kept, tmp_path / "absent"])
    assert fresh.exists() and kept.exists() and not old.exists()
