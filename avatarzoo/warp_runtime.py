"""Set NVIDIA Warp up once per process, and run its CPU kernels on host threads."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import torch

log = logging.getLogger(__name__)

NO_DRIVER = "Could not find or load the NVIDIA CUDA driver"

_lock = threading.Lock()
_started: ModuleType | None = None
_loaded: set[tuple[str, str]] = set()
_pool: ThreadPoolExecutor | None = None


def why_unavailable() -> str | None:
    """Return None when Warp can be used here, else a sentence saying why not and how to get it."""
    try:
        start()
    except ImportError as error:
        return f"warp-lang cannot be imported ({error}); install it with `pip install warp-lang`."
    except Exception as error:  # Warp raises several types while it starts
        return f"warp-lang is installed but does not start: {type(error).__name__}: {error}."
    return None


def start() -> ModuleType:
    """Import Warp and initialise it, once.

    The kernel cache stays where Warp puts it (``WARP_CACHE_PATH``, or the user's cache folder); where that cannot be
    written, a temporary folder takes its place for the life of the process, with a warning.

    Returns:
        The ``warp`` module.
    """
    global _started
    with _lock:
        if _started is None:
            import warp

            if hasattr(warp, "LOG_WARNING"):
                warp.config.log_level = warp.LOG_WARNING
            else:
                warp.config.quiet = True
            with _without_line(NO_DRIVER):
                try:
                    warp.init()
                except OSError as error:
                    warp.config.kernel_cache_dir = _temporary_cache(str(error))
                    warp.init()
            if not _writable(warp.config.kernel_cache_dir):
                warp.config.kernel_cache_dir = _temporary_cache(f"{warp.config.kernel_cache_dir} is not writable")
            _started = warp
        return _started


def load(module: Any, device: torch.device) -> None:
    """Compile (or fetch from the cache) the kernels of a module before several threads launch them.

    Args:
        module: a Python or Warp module that holds kernels.
        device: where they will run.
    """
    key = (getattr(module, "name", None) or module.__name__, str(device))
    if key not in _loaded:
        warp = start()
        with _lock:
            warp.load_module(module, device=warp.device_from_torch(device))
            _loaded.add(key)


def launch(kernel: Any, dim: Any, inputs: list[Any], device: torch.device) -> None:
    """Launch a kernel where torch works now: on its device and, with CUDA, on its current stream.

    Args:
        kernel: a Warp kernel.
        dim: number of threads per axis.
        inputs: scalars and tensors wrapped with ``warp.from_torch``.
        device: of the tensors.
    """
    warp = start()
    stream = warp.stream_from_torch(torch.cuda.current_stream(device)) if device.type == "cuda" else None
    warp.launch(kernel, dim=dim, inputs=inputs, device=warp.device_from_torch(device), stream=stream)


def on_host_threads(work: Callable[[int], None], count: int) -> None:
    """Call ``work(0) .. work(count - 1)``, on as many threads as torch may use.

    Warp runs a CPU kernel serially and lets go of the GIL meanwhile. The calls have to write to disjoint outputs: then
    the result does not depend on the number of threads.

    Args:
        work: takes an index.
        count: number of calls.
    """
    threads = min(count, torch.get_num_threads())
    if threads < 2:
        for index in range(count):
            work(index)
        return
    list(_threads().map(work, range(count)))


def launch_blocks(
    kernel: Any, count: int, inputs: list[Any], outputs: list[Any], device: torch.device, blocks: int | None = None
) -> None:
    """Launch a kernel over items in a row: on CUDA a thread each, on the CPU a serial thread per block of them.

    Args:
        kernel: takes ``inputs``, its first block, the number of items of a block, and ``outputs``.
        count: number of items; 0 launches nothing.
        inputs: scalars and wrapped tensors.
        outputs: wrapped tensors; an item writes its own places, or ``blocks`` is 1.
        device: of the tensors.
        blocks: on the CPU; None takes one per thread of torch's.
    """
    if count == 0:
        return
    if device.type != "cpu":
        launch(kernel, count, [*inputs, 0, 1, *outputs], device)
        return
    blocks = blocks or torch.get_num_threads()
    size = -(-count // blocks)
    on_host_threads(lambda block: launch(kernel, 1, [*inputs, block, size, *outputs], device), blocks)


def launch_rows(kernel: Any, rows: int, count: int, inputs: list[Any], outputs: list[Any], device: torch.device) -> None:
    """Launch a kernel over rows of items: on CUDA a thread per row and item, on the CPU a serial thread per row.

    Args:
        kernel: takes ``inputs``, its first row, the number of items of a block, and ``outputs``.
        rows: such as the levels of a grid, whose outputs are disjoint.
        count: items in each row; 0 launches nothing.
        inputs, outputs, device: see ``launch_blocks``.
    """
    if count == 0:
        return
    if device.type != "cpu":
        launch(kernel, (rows, count), [*inputs, 0, 1, *outputs], device)
        return
    on_host_threads(lambda row: launch(kernel, (1, 1), [*inputs, row, count, *outputs], device), rows)


def _threads() -> ThreadPoolExecutor:
    global _pool
    if _pool is None:
        with _lock:
            if _pool is None:
                _pool = ThreadPoolExecutor(max_workers=torch.get_num_threads(), thread_name_prefix="avatarzoo-warp")
    return _pool


def _forget_threads() -> None:
    """A forked child inherits the pool and the lock, but none of the threads behind them."""
    global _pool, _lock
    _pool, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


def _writable(folder: str) -> bool:
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _temporary_cache(reason: str) -> str:
    folder, owner = tempfile.mkdtemp(prefix="avatarzoo-warp-"), os.getpid()
    log.warning(
        "Warp's kernel cache cannot be used (%s); kernels are compiled into %s for this process only. "
        "Set WARP_CACHE_PATH to a writable folder to keep them.",
        reason,
        folder,
    )
    atexit.register(lambda: shutil.rmtree(folder, ignore_errors=True) if os.getpid() == owner else None)
    return folder


@contextlib.contextmanager
def _without_line(phrase: str) -> Iterator[None]:
    """Drop lines that hold a phrase from what native code writes to stderr; the others are passed on."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as caught:
        kept = os.dup(2)
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            caught.seek(0)
            for line in caught.read().decode(errors="replace").splitlines():
                if phrase not in line:
                    print(line, file=sys.stderr)
