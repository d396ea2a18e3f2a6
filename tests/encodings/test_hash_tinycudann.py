"""The tiny-cuda-nn backend: what it is told and refused, with a stand-in; and, on CUDA, the features themselves."""

from __future__ import annotations

import types

import pytest
import torch
from torch import nn

from avatarzoo.encodings import _hash_tinycudann as backend
from avatarzoo.encodings import _hash_torch
from avatarzoo.encodings.hash_grid import HashGrid
from avatarzoo.errors import BackendError, ConfigError

OPTIONS = {"levels": 4, "channels": 2, "log2_table_size": 8, "coarsest": 4, "growth": 1.5, "init_scale": 1.0}


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch):
    """A module in the place of tinycudann that keeps as many parameters, and remembers what it is told."""
    told = []

    class Encoding(nn.Module):
        def __init__(self, dims, config, dtype):
            super().__init__()
            told.append((dims, config, dtype))
            self.layout = HashGrid(dims, **OPTIONS).layout
            count = self.layout.entries * config["n_features_per_level"] + fake.extra
            self.params = nn.Parameter(torch.zeros(count))

        def forward(self, points):
            return _hash_torch.encode(points, self.params.reshape(1, self.layout.entries, -1), self.layout, None)

    fake = types.SimpleNamespace(Encoding=Encoding, told=told, extra=0)
    monkeypatch.setitem(__import__("sys").modules, "tinycudann", fake)
    monkeypatch.setattr(backend, "why_unavailable", lambda: None)
    monkeypatch.setattr(backend, "_check_tensors", lambda *tensors: None)
    backend._module.cache_clear()
    yield fake
    backend._module.cache_clear()


def test_it_is_told_the_grid_and_given_the_parameters(stand_in) -> None:
    encoding = HashGrid(3, backend="tinycudann", **OPTIONS)
    ((dims, config, dtype),) = stand_in.told
    assert (dims, dtype) == (3, torch.float32)
    assert config == {
        "otype": "HashGrid",
        "n_levels": 4,
        "n_features_per_level": 2,
        "log2_hashmap_size": 8,
        "base_resolution": 4,
        "per_level_scale": 1.5,
        "interpolation": "Linear",
    }
    twin = HashGrid(3, backend="torch", **OPTIONS)
    twin.load_state_dict(encoding.state_dict())
    points = torch.rand(20, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(encoding(points), twin(points), rtol=0, atol=0)
    for module in (encoding, twin):
        module(points).square().sum().backward()
    torch.testing.assert_close(encoding.values.grad, twin.values.grad)


def test_another_layout_is_refused(stand_in) -> None:
    stand_in.extra = 16
    with pytest.raises(BackendError, match="lays levels out in another way"):
        HashGrid(3, backend="tinycudann", **OPTIONS)


@pytest.mark.parametrize(("option", "message"), [({"channels": 3}, "1, 2, 4 or 8"), ({"tables": 2}, "one table")])
def test_what_it_cannot_do_is_said(stand_in, option: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        HashGrid(3, backend="tinycudann", **{**OPTIONS, **option})


def test_other_values_need_the_same_number_of_channels(stand_in) -> None:
    encoding = HashGrid(3, backend="tinycudann", **OPTIONS)
    with pytest.raises(BackendError, match="another number of channels than 5"):
        encoding.look_up(torch.rand(2, 3), torch.zeros(1, encoding.layout.entries, 5))


def test_tensors_on_the_cpu_are_refused() -> None:
    layout = HashGrid(3, **OPTIONS).layout
    with pytest.raises(BackendError, match=r"on CUDA, got 1 tables and torch\.float32 on cpu"):
        backend.encode(torch.rand(2, 3), torch.zeros(1, layout.entries, 2), layout, None)


@pytest.mark.cuda
@pytest.mark.parametrize("dims", [2, 3])
def test_the_real_one_agrees_with_the_twin(dims: int) -> None:
    reason = backend.why_unavailable()
    if reason:
        pytest.skip(reason)
    encoding, twin = (HashGrid(dims, backend=name, **OPTIONS).cuda() for name in ("tinycudann", "torch"))
    twin.load_state_dict(encoding.state_dict())
    points = torch.rand(500, dims, device="cuda")
    torch.testing.assert_close(encoding(points), twin(points), rtol=1e-3, atol=1e-4)
