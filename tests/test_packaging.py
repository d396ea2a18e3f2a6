"""The wheel holds what the tree holds, and the two commands of the README exist."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import avatarzoo

ROOT = Path(__file__).parents[1]
FOLDERS = {"avatarzoo": "avatarzoo", "datamodules": "avatarzoo/datamodules", "recipes": "avatarzoo/recipes"}


def tree() -> set[str]:
    """Return the files of the package as a wheel names them."""
    found = set()
    for folder, place in FOLDERS.items():
        for file in (ROOT / folder).rglob("*"):
            inside = file.relative_to(ROOT / folder)
            if file.is_file() and "__pycache__" not in inside.parts and not file.name.startswith("."):
                found.add(f"{place}/{inside.as_posix()}")
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Build the wheel from a copy of the tree, without a network."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source / file)
    script = f"from setuptools.build_meta import build_wheel; print(build_wheel({str(out)!r}))"
    done = subprocess.run([sys.executable, "-c", script], cwd=source, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(next(out.glob("*.whl")))


def test_the_wheel_holds_the_tree_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == tree()


def test_the_wheel_says_what_it_is(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    metadata = wheel.read(next(n for n in names if n.endswith("/METADATA"))).decode()
    assert f"Version: {avatarzoo.__version__}" in metadata
    assert "Requires-Python: <3.14,>=3.11" in metadata
    assert "License-Expression: Apache-2.0" in metadata
    assert "avatarzoo = avatarzoo.cli:main" in wheel.read(next(n for n in names if n.endswith("entry_points.txt"))).decode()
    assert any(n.endswith("licenses/LICENSE") for n in names)


def test_versions_agree() -> None:
    assert f"version: {avatarzoo.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert re.search(
        rf"^## \[({re.escape(avatarzoo.__version__)}|Unreleased)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )


def test_the_python_versions_agree() -> None:
    makefile, project = (ROOT / "Makefile").read_text(), (ROOT / "pyproject.toml").read_text()
    assert "(3, 11) <= sys.version_info[:2] <= (3, 13)" in makefile
    assert 'requires-python = ">=3.11,<3.14"' in project


def test_the_first_two_commands_of_the_readme_exist() -> None:
    commands = re.findall(r"^make (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert commands[:2] == ["demo", "test"]
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(commands) <= set(targets)


@pytest.mark.parametrize("name", ["python2", "python3.10"])
def test_make_refuses_a_python_that_is_too_old(name: str, tmp_path: Path) -> None:
    """With no suitable interpreter on PATH the message says which ones are."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("sh", "make", "env", "rm"):
        found = shutil.which(tool)
        if found is None:
            pytest.skip(f"{tool} is not installed")
        (tools / tool).symlink_to(found)
    (tools / name).write_text("#!/bin/sh\nexit 1\n")
    (tools / name).chmod(0o755)
    shutil.copy(ROOT / "Makefile", tmp_path / "Makefile")
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "setup.py").touch()
    done = subprocess.run(
        ["make", "demo"], cwd=tmp_path, env={"PATH": str(tools)}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert "needs Python 3.11, 3.12 or 3.13" in done.stderr
    assert not (tmp_path / ".venv").exists()
