"""The tiny capture as fixtures: one that is only read, and copies that a test may damage."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import tiny_capture as tiny

from avatarzoo.datamodules.multiface import Multiface


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_capture(tmp_path_factory.mktemp("capture") / "plate")


@pytest.fixture
def root(original: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(original, tmp_path / "plate"))


@pytest.fixture(scope="module")
def capture(original: Path) -> Multiface:
    return tiny.prepared(original)
