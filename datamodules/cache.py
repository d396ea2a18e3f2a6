"""Where computed pieces of a capture are kept: outside it, under keys that hash what they were made from."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from avatarzoo.errors import ConfigError, DataError


def default_folder() -> Path:
    """Return $AVATARZOO_CACHE, else avatarzoo/ in the user's cache folder ($XDG_CACHE_HOME or ~/.cache)."""
    if os.environ.get("AVATARZOO_CACHE"):
        return Path(os.environ["AVATARZOO_CACHE"]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "avatarzoo"


def capture_folder(root: Path, cache_dir: str | None) -> Path:
    """Return the cache folder of one capture, made if need be.

    Args:
        root: of the capture.
        cache_dir: chosen by the user, or None for ``default_folder``.

    Raises:
        ConfigError: it would lie inside the capture.
        DataError: it cannot be written.
    """
    root = root.resolve()
    base = (Path(cache_dir).expanduser() if cache_dir else default_folder()).resolve()
    if base == root or root in base.parents:
        raise ConfigError(
            f"The cache folder {base} lies inside the capture {root}, which is never written to. "
            "Set data.cache_dir or AVATARZOO_CACHE to a folder outside it."
        )
    folder = base / "captures" / f"{root.name}-{digest(str(root))[:8]}"
    with atomic(folder / "writable") as trial:
        trial.write_bytes(b"")
    return folder


def digest(*parts: Any) -> str:
    """Return 32 hexadecimal digits that stand for some plain values.

    Args:
        parts: numbers, strings, lists and dicts.
    """
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def stamps(paths: Iterable[Path]) -> list[tuple[str, int, int]]:
    """Return (path, size, modification time in ns) of each file; -1 where it is absent.

    Args:
        paths: files.
    """
    found = []
    for path in paths:
        try:
            status = path.stat()
            found.append((str(path), status.st_size, status.st_mtime_ns))
        except OSError:
            found.append((str(path), -1, -1))
    return found


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Write a file that other processes see whole or not at all.

    Args:
        path: the file to make; its folder is made too.

    Yields:
        A temporary path beside it, renamed onto it when the block ends well and removed when it does not.

    Raises:
        DataError: the disk refuses.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror or error}). Free some space, or set data.cache_dir or "
            "AVATARZOO_CACHE to another folder."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def keep(paths: Iterable[Path]) -> None:
    """Mark cached files as used now, so that ``drop`` leaves them to a run that reads them for days."""
    for path in paths:
        with contextlib.suppress(OSError):
            os.utime(path)


def drop(paths: Iterable[Path], unused_days: float = 30.0) -> None:
    """Delete cached files that nothing has used for a while.

    A file made from another version of the capture or of the code may still feed a training that runs.

    Args:
        paths: that this process does not need.
        unused_days: age of the last use.
    """
    oldest = time.time() - unused_days * 86_400
    for path in paths:
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < oldest:
                path.unlink()


def file_hashes(root: Path, files: Iterable[Path], memory: Path, track: Callable[[list, str], Iterable]) -> dict[str, str]:
    """Return SHA-256 by path below ``root`` of the files that are there.

    Args:
        root: folder the names are relative to.
        files: below it.
        memory: file that remembers hashes by path, size and modification time.
        track: progress bar.
    """
    known = json.loads(memory.read_text()) if memory.is_file() else {}
    hashes = {}
    for path, size, changed in track([s for s in stamps(dict.fromkeys(files)) if s[1] >= 0], "Hashing files"):
        name = str(Path(path).relative_to(root))
        key = f"{name}|{size}|{changed}"
        if key not in known:
            with open(path, "rb") as file:
                known[key] = hashlib.file_digest(file, "sha256").hexdigest()
        hashes[name] = known[key]
    with atomic(memory) as temporary:
        temporary.write_text(json.dumps(known))
    return hashes
