"""Runs made before an option existed are tested, rendered and resumed as they were trained."""

from __future__ import annotations

from pathlib import Path

import driven_capture
import pytest
import torch
import yaml

from avatarzoo import checkpoint, registry
from avatarzoo.config import from_yaml
from avatarzoo.drivers.flame import PARTS
from avatarzoo.later_options import LATER, complete
from avatarzoo.schema import check_config


def test_an_option_that_a_config_says_stays() -> None:
    for (kind, name), options in LATER.items():
        for option, before in options.items():
            assert complete({kind: {"name": name}})[kind] == {"name": name, option: before}
            assert complete({kind: {"name": name, option: "said"}})[kind][option] == "said"
    assert complete({"driver": {"name": "arkit"}, "encoding": None}) == {"driver": {"name": "arkit"}, "encoding": None}


def test_every_entry_is_an_option_of_its_component() -> None:
    for (kind, name), options in LATER.items():
        registry.build(kind, {"name": name, **options}, *([(4, 8, 8)] if kind == "driver" else []))


@pytest.fixture
def early(tmp_path: Path) -> Path:
    """A checkpoint of driver=flame whose config names no unit and whose summary says of no motion."""
    path = driven_capture.write_checkpoint(tmp_path / "early.ckpt", "flame")
    content = torch.load(path, weights_only=True)
    record = content["avatarzoo"]
    del record["summary"]["motion_per_unit"]
    assert "unit" not in yaml.safe_load(record["config"])["driver"]
    torch.save(content, path)
    return path


def test_an_early_avatar_driven_by_flame_is_what_it_was(early: Path) -> None:
    loaded = checkpoint.load(early)
    factor = loaded.model.driver.to_code.factor
    jaw = slice(50, 53)
    assert (factor[:50] == 1).all() and (factor[jaw] == PARTS["jaw"][1]).all()
    assert loaded.config["driver"]["unit"] == checkpoint.read_config(early)["driver"]["unit"] == "value"


def test_resuming_compares_it_with_what_it_was(early: Path) -> None:
    before = from_yaml(checkpoint.read(early)["avatarzoo"]["config"])
    assert check_config(before)["driver"]["unit"] == "value"
