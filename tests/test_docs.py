"""What the README and the documentation tell people to type is right."""

from __future__ import annotations

import re
import shlex
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from avatarzoo import cli, config, registry
from avatarzoo.benchmark.curve import options as curve_options

pytestmark = pytest.mark.usefixtures("forget_plugins")
ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path, *languages: str) -> list[str]:
    """Return the fenced blocks of a page in some languages."""
    found = re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [text for language, text in found if language in languages]


def commands() -> list[tuple[str, str]]:
    """Return (page, command) for every `avatarzoo ...` in a shell block."""
    found = []
    for page in PAGES:
        for block in blocks(page, "bash", "sh", "console"):
            joined = block.replace("\\\n", " ")
            found += [(page.name, line.strip()) for line in joined.splitlines() if line.strip().startswith("avatarzoo ")]
    return found


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files the how-to pages tell people to write."""
    how_to = ROOT / "docs" / "how-to"
    for page, name in (("add-an-encoding", "my.py"), ("data", "my_capture.py"), ("model", "my_avatar.py")):
        (tmp_path / name).write_text(blocks(how_to / f"{page}.md", "python")[0])
    (tmp_path / "mine.yaml").write_text(blocks(how_to / "add-an-encoding.md", "yaml")[0])
    (tmp_path / "my_recipe.yaml").write_text(blocks(how_to / "recipe.md", "yaml")[0])
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("page", "command"), commands())
def test_a_command_is_accepted(page: str, command: str, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verb, *words = shlex.split(command, comments=True)[1:]
    called: list[Any] = []

    def record(*args: Any, **kwargs: Any) -> Path:
        called.append(args)
        return desk

    for module, name in (
        ("avatarzoo.fit", "fit"),
        ("avatarzoo.benchmark.score", "score"),
        ("avatarzoo.rendering", "render"),
        ("avatarzoo.benchmark.bench_speed", "bench_speed"),
    ):
        stand_in = types.ModuleType(module)
        setattr(stand_in, name, record)
        monkeypatch.setitem(sys.modules, module, stand_in)
    from avatarzoo.benchmark.bench import options as bench_options
    from avatarzoo.benchmark.bench.suite import plan
    from avatarzoo.benchmark.leaderboard import options as leaderboard_options

    def planned(suite: Any, words: list[str], **how: Any) -> list[Any]:
        called.append(suite)
        words = [*words, f"plugins=[{','.join(how['plugins'])}]"]
        assert not [p.why_not for p in plan(suite, how["seeds"][:1], how["budget"], words) if p.why_not]
        return []

    monkeypatch.setattr(bench_options, "bench", planned)
    monkeypatch.setattr(leaderboard_options, "leaderboard", record)
    monkeypatch.setattr(curve_options, "curve", record)
    if verb == "fit" and any(word.startswith("resume=") for word in words):
        resumed = config.load("pica_full").to_yaml()
        monkeypatch.setattr(config, "run_config", lambda run: config.from_yaml(resumed))
    if verb in ("fit", "test", "render", "bench-speed", "bench", "leaderboard", "curve"):
        monkeypatch.setenv("AVATARZOO_DEBUG", "1")  # an error shows itself whole
        assert cli.main([verb, *words]) == 0
        assert called
    else:
        assert verb in cli.VERBS
        assert not words or cli.main([verb, *words]) == 0


def test_there_are_commands_to_check() -> None:
    assert len(commands()) > 10
    assert {page for page, _ in commands()} >= {"README.md", "start.md"}


def test_the_encoding_of_the_how_to_page_encodes(desk: Path) -> None:
    import torch

    from avatarzoo.build import build_model

    lines = [line for line in (desk / "my.py").read_text().splitlines() if line]
    assert len(lines) == 10
    resolved = config.load("pica_full", ["scale=small", "plugins=[my.py]", "encoding=my", "encoding.bands=3"]).resolved
    model = build_model(resolved)
    encoding, points = model.encoding, torch.rand(5, 2)
    assert encoding.config == {"name": "my", "bands": 3}
    expected = torch.sin(points[:, 1] * 2.0**2)  # the last of (u, v) x (1, 2, 4)
    assert encoding(points).shape == (5, encoding.out_dim) == (5, 6)
    torch.testing.assert_close(encoding(points)[:, -1], expected)
    assert model.pixel_decoder.pixel.layers[0].in_features == 4 + 4 + 6


@pytest.mark.parametrize(
    ("file", "kind", "name"), [("my_capture.py", "data", "my_capture"), ("my_avatar.py", "model", "my_avatar")]
)
def test_the_classes_of_the_how_to_pages_register(desk: Path, file: str, kind: str, name: str) -> None:
    registry.load_plugin_file(desk / file)
    cls = registry.get(kind, name)
    assert not cls.__abstractmethods__
    assert registry.options(cls)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_files_lead_somewhere(page: Path) -> None:
    if page.name == "README.md":
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#]+?)\)", text):
            if "://" not in target:
                assert (page.parent / target).exists(), target
    for target in re.findall(r"`make (\w+)`|^make (\w+)", page.read_text(encoding="utf-8"), re.MULTILINE):
        assert re.search(rf"^{''.join(target)}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target
