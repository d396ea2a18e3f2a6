"""What is said when something goes wrong that no message was written for: briefly, with the traceback in a file."""

from __future__ import annotations

import errno
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

import avatarzoo

#: Errors that say the machine gave out rather than that the program is wrong.
MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EMFILE, errno.ENOMEM)

run: Path | None = None  #: folder of the run in progress, where the traceback goes


def report(error: BaseException, words: Sequence[str]) -> str:
    """Write the traceback of an unexpected error to a file and say what happened.

    Args:
        error: caught, with its traceback.
        words: of the command line.

    Returns:
        A few lines for the person at the terminal.
    """
    brief = " ".join(f"{type(error).__name__}: {error}".split())
    brief = brief if len(brief) <= 300 else brief[:297] + "..."
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return f"out of memory ({brief}). Try loader.batch_size=1, a smaller data.image_height, or scale=small."
    if isinstance(error, OSError) and error.errno in MACHINE:
        return f"{brief}."
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    file = _write(error, words)
    told = f"The traceback is in {file}; please report it with that file." if file else "Please report it."
    return f"this is a bug in AvatarZoo or in a plug-in: {brief}{where}\n{told} AVATARZOO_DEBUG=1 shows the traceback here."


def _write(error: BaseException, words: Sequence[str]) -> Path | None:
    text = "".join(traceback.format_exception(error))
    head = f"avatarzoo {avatarzoo.__version__}, Python {sys.version.split()[0]}\navatarzoo {' '.join(words)}\n\n"
    for folder in (run, Path.cwd(), Path(tempfile.gettempdir())):
        if folder is None:
            continue
        file = folder / f"avatarzoo-error-{time.strftime('%Y%m%d-%H%M%S')}.txt"
        try:
            file.write_text(head + text, encoding="utf-8")
        except OSError:
            continue
        return file
    return None
