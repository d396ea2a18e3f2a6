"""Keep memory that a step frees, so that the next step does not ask the operating system for it anew."""

from __future__ import annotations

import ctypes
import os
import platform

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4  #: parameters of glibc's mallopt (malloc.h)


def keep_freed_memory() -> bool:
    """Have glibc's allocator keep freed memory for the next step; results do not change.

    By default it hands large blocks back as soon as they are freed, and each step of training touches its maps as fresh,
    zeroed pages: about a fifth of a small avatar's step on a CPU. The process then keeps what its largest step took until
    it ends. Who sets malloc's own environment variables (MALLOC_..., GLIBC_TUNABLES) has chosen, and is left alone.

    Returns:
        Whether it was done: only where glibc is the C library and the environment says nothing else.
    """
    chosen = [name for name in os.environ if name.startswith("MALLOC_") or name == "GLIBC_TUNABLES"]
    if chosen or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    # all blocks from the heap, whose end is never given back and grows by 64 MiB at a time
    return all(mallopt(*pair) == 1 for pair in ((MMAP_MAX, 0), (TRIM_THRESHOLD, -1), (TOP_PAD, 1 << 26)))
