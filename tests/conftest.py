"""Fixtures that several folders of tests use."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from avatarzoo import registry


@pytest.fixture
def forget_plugins() -> Iterator[None]:
    """Take out of the registry what plug-in files put in during the test."""
    yield
    for found in registry._components.values():
        for name in [name for name, cls in found.items() if cls.__module__.startswith("avatarzoo_plugin_")]:
            del found[name]
    for module in registry._plugin_files:
        sys.modules.pop(module, None)
    registry._plugin_files.clear()  # or loader processes of later tests would load them
