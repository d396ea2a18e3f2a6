"""Every shipped recipe resolves, at both scales, and names only what there is."""

from __future__ import annotations

import pytest

from avatarzoo import config, registry
from avatarzoo.errors import ConfigError
from avatarzoo.listing import recipes

NAMES = sorted(config.recipe_files([config.RECIPES]))


@pytest.mark.parametrize("scale", config.SCALES)
@pytest.mark.parametrize("name", NAMES)
def test_it_resolves(name: str, scale: str) -> None:
    resolved = config.load(name, [f"scale={scale}"])
    assert resolved["recipe"] == name
    assert resolved["scale"] == scale
    assert config.from_yaml(resolved.to_yaml()) == resolved.resolved


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_it_is_and_needs_no_download(name: str) -> None:
    assert recipes()[name].endswith(".")
    assert config.load(name)["data"]["name"] == "synthetic"


@pytest.mark.parametrize("name", NAMES)
def test_it_takes_a_capture_from_disk(name: str) -> None:
    node = config.load(name, ["data=multiface", "data.root=/captures/x", "data.image_height=256"])["data"]
    assert (node["name"], node["root"], node["image_height"]) == ("multiface", "/captures/x", 256)


@pytest.mark.parametrize("group", ["data", "trainer"])
def test_every_choice_of_a_group_can_be_chosen(group: str) -> None:
    files = sorted((config.RECIPES / group).glob("*.yaml"))
    assert files
    for file in files:
        overrides = [f"{group}={file.stem}"]
        if group == "data":
            options = registry.options(registry.get("data", file.stem))
            overrides += ["data.root=/x"] if "root" in options else []
        assert config.load("pica_full", overrides)


def test_base_is_no_recipe() -> None:
    assert "base" not in recipes()
    with pytest.raises(ConfigError, match="no recipe called 'base'"):
        config.load("base")
