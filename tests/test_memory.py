"""Memory that is freed and taken again costs no new pages, unless the environment says how malloc shall behave."""

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, resource
from avatarzoo.memory import keep_freed_memory
done = keep_freed_memory()
c = ctypes.CDLL(None)
c.malloc.restype, c.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
c.free.argtypes, c.memset.argtypes = [ctypes.c_void_p], [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
def use():
    block = c.malloc(40 << 20)
    c.memset(block, 1, 40 << 20)
    c.free(block)
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    use()
print(done, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def run(**environment: str) -> tuple[bool, int]:
    said = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_") and k != "GLIBC_TUNABLES"}
    command = [sys.executable, "-c", PROGRAM]
    done, faults = subprocess.check_output(command, env=said | environment, text=True, timeout=120).split()
    return done == "True", int(faults)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator is told")
def test_freed_memory_is_taken_again_without_asking_the_system_for_pages() -> None:
    assert run()[0] and run()[1] < 100


def test_who_has_chosen_is_left_alone() -> None:
    done, faults = run(MALLOC_TOP_PAD_="0")
    assert not done
    if platform.libc_ver()[0] == "glibc":
        assert faults > 1000, "the default asks anew for each block"


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from avatarzoo import memory

    monkeypatch.setattr(memory.platform, "libc_ver", lambda: ("", ""))
    assert not memory.keep_freed_memory()
