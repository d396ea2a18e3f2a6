"""An installed plug-in brings an encoding, a loss term, a recipe and a suite; one that breaks is named and stops nobody."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = """\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "tiny-zoo"
version = "1.0"
[project.entry-points."avatarzoo.plugins"]
tiny = "tiny_zoo"
broken = "broken_zoo"
quitter = "quitter_zoo"
[tool.setuptools]
packages = ["tiny_zoo"]
py-modules = ["broken_zoo", "quitter_zoo"]
[tool.setuptools.package-data]
tiny_zoo = ["recipes/**/*.yaml"]
"""
MODULE = '''\
from avatarzoo.encodings.base import Encoding
from avatarzoo.losses.base import LossTerm
from avatarzoo.registry import register


@register("encoding", "tiny_waves")
class TinyWaves(Encoding):
    """Waves, tiny ones."""

    def __init__(self, in_dim: int = 2, *, bands: int = 2):
        super().__init__()
        self.in_dim, self.out_dim = in_dim, bands


@register("loss", "tiny_brightness")
class TinyBrightness(LossTerm):
    """Mean brightness of the picture against a wanted one."""

    def __init__(self, *, wanted: float = 0.5):
        self.wanted = wanted

    def __call__(self, prediction, batch):
        return (prediction.image.flatten(1).mean(1) - self.wanted) ** 2
'''
RECIPE = """\
# A floor that wants to be bright.
defaults: [static_texture]
phases: {fit: {loss: {tiny_brightness: {weight: 3, wanted: 0.9}}}}
"""
SCRIPT = """
import sys
from avatarzoo import cli
for line in sys.stdin.read().splitlines():
    print("rc", cli.main(line.split("~")), flush=True)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the plug-in with pip, as anybody would, into a folder of its own."""
    source, site = tmp_path_factory.mktemp("tiny-zoo"), tmp_path_factory.mktemp("site")
    (source / "tiny_zoo" / "recipes" / "suites").mkdir(parents=True)
    (source / "pyproject.toml").write_text(PROJECT)
    (source / "tiny_zoo" / "__init__.py").write_text(MODULE)
    (source / "tiny_zoo" / "recipes" / "tiny.yaml").write_text(RECIPE)
    (source / "tiny_zoo" / "recipes" / "suites" / "tiny_suite.yaml").write_text("# Tiny rows.\nrows: [tiny]\n")
    (source / "broken_zoo.py").write_text("import a_module_that_is_not_there\n")
    (source / "quitter_zoo.py").write_text("raise SystemExit('no licence')\n")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    done = subprocess.run([*command, "--target", str(site), str(source)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return site


def test_an_installed_plugin_is_listed_trained_and_its_broken_neighbours_are_named(site: Path, tmp_path: Path) -> None:
    little = ["data.image_height=32", "data.texture_size=32", "data.cameras=2", "data.train_frames=6", "data.test_frames=1"]
    fit = ["fit", "recipe=tiny", "scale=small", "trainer.max_steps=2", "loader.batch_size=1", "pictures.every=0", *little]
    verbs = [
        *(["list"], ["bench", "--help"], ["doctor"]),
        ["fit", "recipe=pica_full", "encoding=brokn_waves"],
        [*fit, f"out={tmp_path / 'run'}"],
    ]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input="\n".join("~".join(words) for words in verbs),
        env={**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=600,
    )
    told, complaints = done.stdout, done.stderr
    assert [line for line in told.splitlines() if line.startswith("rc ")] == ["rc 0", "rc 0", "rc 0", "rc 2", "rc 0"], (
        told + complaints
    )
    for line in ("tiny_waves       Waves, tiny ones.", "tiny_brightness", "A floor that wants to be bright.", "Tiny rows."):
        assert " ".join(line.split()) in " ".join(told.split())
    for name, cause in (
        ("broken", "ModuleNotFoundError: No module named 'a_module_that_is_not_there'"),
        ("quitter", "SystemExit: no licence"),
    ):
        words = f"The plug-in {name} could not be loaded: {cause}"
        assert words in told and words in complaints  # in the list, and where a component is missing
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").open()))
    assert float(rows[-1]["fit/tiny_brightness"]) > 0
