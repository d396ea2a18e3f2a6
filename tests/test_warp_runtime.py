"""How kernels are launched: every item once, on the CPU in blocks or rows, on CUDA a thread each."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from avatarzoo import warp_runtime

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What is launched instead of a kernel: dimensions and arguments."""
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(warp_runtime, "launch", lambda kernel, dim, inputs, device: calls.append((dim, inputs)))
    return calls


@pytest.fixture
def three_threads() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def items(call: tuple[Any, ...], count: int) -> list[int]:
    """What a block of a kernel covers: block * size to (block + 1) * size, as far as there are items."""
    _, (_, block, size, _) = call
    return list(range(block * size, min((block + 1) * size, count)))


@pytest.mark.parametrize("count", [1, 3, 10])
def test_blocks_cover_every_item_once(launched: list[Any], three_threads: None, count: int) -> None:
    warp_runtime.launch_blocks("kernel", count, ["in"], ["out"], CPU)
    assert sorted(item for call in launched for item in items(call, count)) == list(range(count))
    assert len(launched) == 3 and all(dim == 1 for dim, _ in launched)
    launched.clear()
    warp_runtime.launch_blocks("kernel", count, ["in"], ["out"], CPU, blocks=1)
    assert launched == [(1, ["in", 0, count, "out"])]


def test_rows_are_launched_one_by_one(launched: list[Any]) -> None:
    warp_runtime.launch_rows("kernel", 2, 7, ["in"], ["out"], CPU)
    assert sorted(launched) == [((1, 1), ["in", 0, 7, "out"]), ((1, 1), ["in", 1, 7, "out"])]


def test_on_cuda_a_thread_takes_one_item(launched: list[Any]) -> None:
    warp_runtime.launch_blocks("kernel", 9, ["in"], ["out"], CUDA, blocks=1)
    warp_runtime.launch_rows("kernel", 2, 9, ["in"], ["out"], CUDA)
    assert launched == [(9, ["in", 0, 1, "out"]), ((2, 9), ["in", 0, 1, "out"])]


@pytest.mark.parametrize("device", [CPU, CUDA])
def test_nothing_is_launched_over_nothing(launched: list[Any], device: torch.device) -> None:
    warp_runtime.launch_blocks("kernel", 0, [], [], device)
    warp_runtime.launch_rows("kernel", 2, 0, [], [], device)
    assert launched == []
