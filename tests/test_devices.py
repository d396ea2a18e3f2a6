"""Words for devices."""

from __future__ import annotations

import pytest
import torch

from avatarzoo.devices import device_named
from avatarzoo.errors import ConfigError


def test_auto_takes_cuda_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for there in (True, False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert device_named("auto") == ("cuda" if there else "cpu")
    assert device_named("cpu") == "cpu"


def test_a_device_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device_named("cuda:1") == "cuda:1" and device_named("cuda") == "cuda"
    with pytest.raises(ConfigError, match=r"device=cuda:2, and no CUDA device"):
        device_named("cuda:2")
    for word in ("gpu", "cuda:x", "CPU", ""):
        with pytest.raises(ConfigError, match=r"none of auto, cpu, cuda and cuda:N"):
            device_named(word)
