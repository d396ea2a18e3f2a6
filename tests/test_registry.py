"""Registering, finding and building components."""

from __future__ import annotations

import importlib
import pickle
import sys
from dataclasses import MISSING
from pathlib import Path

import pytest

from avatarzoo import registry
from avatarzoo.datamodules.base import _Reader
from avatarzoo.errors import ConfigError


@pytest.fixture(autouse=True)
def _forget() -> None:
    """Give every test a registry of its own to write into."""
    for kind in registry.KINDS:  # what is found only during a test would be forgotten for good: modules are imported once
        registry.names(kind)
    kept = {kind: dict(found) for kind, found in registry._components.items()}
    yield
    registry._components.update(kept)


class Wave:
    """Waves of a few bands.

    More about them.
    """

    def __init__(self, in_dim: int = 2, *, bands: int = 6, phase: float | None = None, name_of: str) -> None:
        self.in_dim, self.bands, self.phase, self.name_of = in_dim, bands, phase, name_of


def test_options_are_the_keyword_only_parameters() -> None:
    found = registry.options(Wave)
    assert list(found) == ["bands", "phase", "name_of"]
    assert (found["bands"].type, found["bands"].default) == (int, 6)
    assert found["phase"].type == float | None
    assert found["name_of"].default is MISSING


def test_build_hands_context_and_options_over_and_keeps_the_resolved_node() -> None:
    registry.register("encoding", "test_wave")(Wave)
    made = registry.build("encoding", {"name": "test_wave", "name_of": "x", "bands": 2}, 3)
    assert (made.in_dim, made.bands, made.phase) == (3, 2, None)
    assert made.config == {"name": "test_wave", "bands": 2, "phase": None, "name_of": "x"}
    assert registry.summary_line(Wave) == "Waves of a few bands."
    assert "test_wave" in registry.names("encoding")
    assert registry.get("encoding", "test_wave") is Wave


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ("test_wafe", "Did you mean 'test_wave'"),
        ({"name": "test_wave", "name_of": "x", "band": 1}, "no option 'band'. Did you mean 'bands'"),
        ("test_wave", "needs a value for name_of"),
        ({"bands": 1}, "needs a name"),
    ],
)
def test_mistakes_name_what_is_near(node: object, message: str) -> None:
    registry.register("encoding", "test_wave")(Wave)
    with pytest.raises(ConfigError, match=message):
        registry.build("encoding", node)


def test_kinds_are_checked() -> None:
    for call in (lambda: registry.register("encodin", "x"), lambda: registry.names("encodin")):
        with pytest.raises(ConfigError, match="Did you mean 'encoding'"):
            call()


def test_a_name_is_taken_once() -> None:
    registry.register("encoding", "test_wave")(Wave)
    registry.register("encoding", "test_wave")(Wave)  # the same class again, as when a module is reloaded
    with pytest.raises(ConfigError, match="already"):
        registry.register("encoding", "test_wave")(type("Other", (), {}))


def test_a_plugin_file_is_imported(tmp_path: Path) -> None:
    source = "from avatarzoo.registry import register\n@register('warp', 'test_bend')\nclass Bend:\n    'Bends.'\n"
    (tmp_path / "bend.py").write_text(source)
    registry.load_plugin_file(tmp_path / "bend.py")
    assert registry.summary_line(registry.get("warp", "test_bend")) == "Bends."
    with pytest.raises(ConfigError, match="does not exist"):
        registry.load_plugin_file(tmp_path / "nowhere.py")
    (tmp_path / "broken.py").write_text("raise RuntimeError('boom')\n")
    with pytest.raises(ConfigError, match=r"broken\.py failed.*RuntimeError: boom"):
        registry.load_plugin_file(tmp_path / "broken.py")


SOURCE = """
from avatarzoo.datamodules.base import Capture
from avatarzoo.registry import register


@register("data", "{name}")
class Mine(Capture):
    def __init__(self):
        self.splits = {{"train": [{value}]}}

    def prepare(self): ...

    def read(self, sample, noise_key=0):
        return sample

    def manifest(self):
        return {{}}
"""


def test_plugin_files_of_one_name_do_not_replace_each_other(tmp_path: Path) -> None:
    for value, folder in enumerate("ab"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "my.py").write_text(SOURCE.format(name="twice", value=value))
    registry.load_plugin_file(tmp_path / "a" / "my.py")
    registry.load_plugin_file(tmp_path / "a" / ".." / "a" / "my.py")  # the same file again
    with pytest.raises(ConfigError, match=r"data 'twice' is already .*my"):
        registry.load_plugin_file(tmp_path / "b" / "my.py")
    assert registry.build("data", "twice").splits == {"train": [0]}


def test_a_capture_of_a_plugin_file_reaches_a_process_that_does_not_know_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sent.py").write_text(SOURCE.format(name="sent", value=7))
    registry.load_plugin_file(tmp_path / "sent.py")
    made = registry.build("data", "sent")
    content = pickle.dumps(_Reader(made, "train"))
    name = type(made).__module__
    monkeypatch.delitem(sys.modules, name)  # what a new process has: neither the module nor the class
    monkeypatch.delitem(registry._components["data"], "sent")
    again = pickle.loads(content)
    assert again[0] == 7 and type(again.capture) is not type(made) and type(again.capture).__module__ == name


def test_installed_plugins_are_found_and_a_broken_one_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from avatarzoo import config, listing

    (tmp_path / "zoo_good").mkdir()
    good = "from avatarzoo.registry import register\n@register('warp', 'test_good')\nclass Good:\n    'Good.'\n"
    (tmp_path / "zoo_good" / "__init__.py").write_text(good)
    (tmp_path / "zoo_good" / "recipes").mkdir()
    (tmp_path / "zoo_good" / "recipes" / "good_one.yaml").write_text("# A good one.\ndefaults: [pica_full]\n")
    (tmp_path / "zoo_bad.py").write_text("import a_module_that_is_not_there\n")
    info = tmp_path / "zoo-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: zoo\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[avatarzoo.plugins]\ngood = zoo_good\nbad = zoo_bad\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(registry, "_plugins_loaded", False)
    monkeypatch.setattr(registry, "plugin_errors", {})
    importlib.invalidate_caches()

    assert "test_good" in registry.names("warp")
    assert "a_module_that_is_not_there" in registry.plugin_errors["bad"]
    assert config.recipe_files()["good_one"] == tmp_path / "zoo_good" / "recipes" / "good_one.yaml"
    listing.print_listing(["recipes"])
    told = capsys.readouterr().out
    assert "good_one" in told
    assert "The plug-in bad could not be loaded" in told


@pytest.mark.parametrize("kind", registry.KINDS)
def test_every_component_describes_itself_in_one_sentence(kind: str) -> None:
    for name in registry.names(kind):
        line = registry.summary_line(registry.get(kind, name))
        assert line.endswith("."), f"{kind} {name!r}: {line!r}"
        for option in registry.options(registry.get(kind, name)).values():
            assert option.default is not MISSING or kind in ("model", "data"), (
                f"{kind} {name!r}: {option.name} has no default"
            )
