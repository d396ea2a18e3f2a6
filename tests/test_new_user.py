"""The path of somebody new: the wheel in an empty environment, ten lines copied from the docs, their row in the table.

AvatarZoo is installed from its wheel into an environment of its own, away from this checkout. What it depends on weighs
gigabytes and is lent by the environment that runs the tests; AVATARZOO_TEST_INSTALL=1 installs that too, from the index.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from test_packaging import FOLDERS, ROOT

LITTLE = (
    *("scale=small", "steps=2", "loader.batch_size=2", "loader.workers=0", "trainer.accelerator=cpu"),
    *("data.image_height=32", "data.cameras=2", "data.train_frames=6", "data.test_frames=1", "data.texture_size=512"),
)


def run(*command: str | Path, folder: Path, **more: str) -> str:
    """Run a command of the new environment; return what it printed."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    environment |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", **more}
    how = {"capture_output": True, "text": True, "timeout": 1800}
    done = subprocess.run(list(map(str, command)), cwd=folder, env=environment, **how)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the environment in .venv and the wheel installed in it."""
    desk, source = tmp_path_factory.mktemp("desk"), tmp_path_factory.mktemp("source")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source / file)
    script = f"from setuptools.build_meta import build_wheel; print(build_wheel({str(desk)!r}))"
    run(sys.executable, "-c", script, folder=source)
    run(sys.executable, "-m", "venv", desk / ".venv", folder=desk)
    python, wheel = desk / ".venv" / "bin" / "python", next(desk.glob("*.whl"))
    if os.environ.get("AVATARZOO_TEST_INSTALL"):
        install = [str(python), "-m", "pip", "install", "--quiet", str(wheel)]
        done = subprocess.run(install, capture_output=True, text=True, timeout=3600)
        if done.returncode and re.search(r"NewConnectionError|Could not find a version|Name or service", done.stderr):
            pytest.skip(f"needs a package index: {done.stderr.strip().splitlines()[-1]}")
        assert done.returncode == 0, done.stderr
    else:
        run(python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", wheel, folder=desk)
        paths = sysconfig.get_paths()
        place = run(python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])", folder=desk).strip()
        # A line with a folder lends its packages, but no line of a .pth file in it: editable installs stay away.
        (Path(place) / "lent.pth").write_text("\n".join(dict.fromkeys([paths["purelib"], paths["platlib"]])) + "\n")
    return desk


@pytest.mark.slow
def test_ten_lines_from_the_docs_get_their_row_in_the_table(desk: Path) -> None:
    page = (ROOT / "docs" / "how-to" / "add-an-encoding.md").read_text(encoding="utf-8")
    code = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)[0]
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    (desk / "my.py").write_text(code)
    name = re.findall(r'@register\("encoding", "(\w+)"\)', code)[0]
    suite = {"rows": [{"recipe": "pica_full", "name": "mine", "overrides": [f"encoding={name}"]}]}
    (desk / "mine.yaml").write_text(json.dumps(suite))

    python, avatarzoo = desk / ".venv" / "bin" / "python", desk / ".venv" / "bin" / "avatarzoo"
    where = run(python, "-c", "import avatarzoo; print(avatarzoo.__file__)", folder=desk).strip()
    assert Path(where).is_relative_to(desk / ".venv") and not Path(where).is_relative_to(ROOT)
    told = run(avatarzoo, "bench", "suite=./mine.yaml", "plugins=[my.py]", "protocol=tracked-v1", *LITTLE, folder=desk)
    cells = next(line.split() for line in told.splitlines() if line.strip().startswith("mine "))
    assert float(cells[1]) > 5  # dB, of two steps
    run(avatarzoo, "leaderboard", "runs/bench", folder=desk)
    table = (desk / "runs" / "bench" / "leaderboard" / "leaderboard.md").read_text()
    assert re.search(r"^\| mine \| ", table, re.MULTILINE)
    record = json.loads(next((desk / "runs" / "bench" / "mine").rglob("record.json")).read_text())[0]
    assert record["config"]["encoding"]["name"] == name
