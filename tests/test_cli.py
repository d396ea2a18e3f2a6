"""The command line: help, lists, errors, and what each verb hands to the package."""

from __future__ import annotations

import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_capture

import avatarzoo
from avatarzoo import cli
from avatarzoo.doctor import ABSENT, BAD, GOOD, Finding, _safely, examine

pytestmark = pytest.mark.usefixtures("forget_plugins")
PLUGIN = Path(__file__).parent / "plugin" / "parts.py"
OPTIONAL = ("nvdiffrast", "tinycudann", "smplx", "wandb", "lpips", "tensorboard", "skimage")


def fake(monkeypatch: pytest.MonkeyPatch, module: str, name: str, result: Any) -> list[tuple[tuple, dict]]:
    """Put a module in place whose function records its arguments."""
    calls: list[tuple[tuple, dict]] = []

    def record(*args: Any, **kwargs: Any) -> Any:
        calls.append((args, kwargs))
        return result

    stand_in = types.ModuleType(module)
    setattr(stand_in, name, record)
    monkeypatch.setitem(sys.modules, module, stand_in)
    return calls


def test_help_names_every_verb_and_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    for word in (*cli.VERBS, "pica_full", "static_texture", avatarzoo.__version__):
        assert word in text
    assert "\n  base " not in text


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([verb, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"usage: avatarzoo {verb}")


def test_no_verb_shows_the_help_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert "usage:" in capsys.readouterr().out


def test_a_mistyped_recipe_answers_without_importing_pytorch() -> None:
    script = (
        "import sys; from avatarzoo.cli import main; "
        "codes = [main(['fit', *w]) for w in ([], ['recipe=pica_ful'], ['pica_full'], ['--recipe', 'x'])]; "
        "print(codes, 'torch' in sys.modules, 'lightning' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[2, 2, 2, 2] False False"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == avatarzoo.__version__


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fitt"], "Did you mean 'fit'"),
        (["fit"], "Which recipe?"),
        (["fit", "recipe=pica_ful"], "Did you mean 'pica_full'"),
        (["fit", "pica_full"], "Did you mean recipe=pica_full?"),
        (["fit", "--recipe", "pica_full"], "without dashes: recipe=pica_full"),
        (["test"], "ckpt= is missing"),
        (["test", "ckpt=x", "protocols=tracked-v1"], "no option protocols here. Did you mean 'protocol'"),
        (["test", "ckpt=x", "model.width=3"], "no option model.width here"),
        (["render", "what=image"], "ckpt= is missing"),
        (["list", "modelz"], "Did you mean 'models'"),
        (["curve", "protocol=tracked-v1"], "Which runs?"),
        (["curve", "runs/x", "protocl=tracked-v1"], "no option protocl. Did you mean 'protocol'"),
        (["doctor", "now"], "doctor takes no options"),
    ],
)
def test_a_mistake_is_one_line_without_traceback(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(monkeypatch, "avatarzoo.rendering", "render", None)
    if words[0] == "test":  # other verbs read more of that module
        fake(monkeypatch, "avatarzoo.benchmark.score", "score", None)
    assert cli.main(words) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert "Traceback" not in told


def test_debug_lets_the_traceback_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVATARZOO_DEBUG", "1")
    with pytest.raises(avatarzoo.errors.ConfigError):
        cli.main(["fit", "recipe=nowhere"])


def test_fit_hands_the_resolved_config_over_and_leaves_the_last_word_to_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = fake(monkeypatch, "avatarzoo.fit", "fit", Path("runs/x"))
    words = ["fit", f"plugins=[{PLUGIN}]", "scale=small", "recipe=plug_small", "model.width=3"]
    assert cli.main(words) == 0
    config = calls[0][0][0]
    assert (config["recipe"], config["scale"], config["model"]["width"]) == ("plug_small", "small", 3)
    assert capsys.readouterr().out == ""


def test_test_separates_its_options_from_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = fake(monkeypatch, "avatarzoo.benchmark.score", "score", [])
    words = ["test", "ckpt=runs/x", "data.root=/a b,c", "protocol=tracked-v1,rasterised-v1", "out=there"]
    assert cli.main(words) == 0
    assert calls == [(("runs/x", ["data.root=/a b,c"], ["tracked-v1", "rasterised-v1"], "there"), {})]
    assert cli.main(["test", "ckpt=runs/x", "device=cpu", "plugins=[a.py,b.py]"]) == 0
    assert calls[1] == (("runs/x", [], ["tracked-v1"], None), {"device": "cpu", "plugins": ["a.py", "b.py"]})


def test_render_separates_its_options_from_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = fake(monkeypatch, "avatarzoo.rendering", "render", Path("x.mp4"))
    assert cli.main(["render", "ckpt=r", "what=mesh", "path=camera:400002", "out=x.mp4", "data.root=/d"]) == 0
    said = {"what": "mesh", "path": "camera:400002", "out": "x.mp4", "overrides": ["data.root=/d"]}
    assert calls == [(("r",), said)]
    assert cli.main(["render", "ckpt=r", "yaw=180", "pitch=0", "framing=camera"]) == 0
    assert calls[1][1] == {"overrides": [], "yaw": 180, "pitch": 0, "framing": "camera"}


def test_bench_speed_reads_lists_and_overrides_of_the_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = fake(monkeypatch, "avatarzoo.benchmark.bench_speed", "bench_speed", None)
    words = [
        "bench-speed",
        "recipes=dam,pica_full",
        "pixels=2000",
        "dtype=float32",
        "repeat=3",
        "data.seed=2",
        "out=a b.json",
    ]
    assert cli.main(words) == 0
    expected = {"recipes": ["dam", "pica_full"], "pixels": ["2000"], "dtypes": ["float32"], "repeat": 3, "out": "a b.json"}
    assert calls == [((), expected | {"overrides": ["data.seed=2"]})]
    assert cli.main(["bench-speed", "avatars=1,5", "what=object"]) == 0
    assert calls[1] == ((), {"avatars": ["1", "5"], "what": ["object"], "overrides": []})


def test_ctrl_c_is_no_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def stop(words: list[str]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(cli.VERBS, "fit", stop)
    assert cli.main(["fit"]) == 130
    assert capsys.readouterr().err == "avatarzoo: stopped.\n"


def test_an_unexpected_error_is_brief_and_leaves_its_traceback_in_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def fail(words: list[str]) -> None:
        {}["score"]

    monkeypatch.setitem(cli.VERBS, "fit", fail)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["fit", "recipe=mine"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("avatarzoo: this is a bug in AvatarZoo or in a plug-in: KeyError: 'score' in test_cli.py:")
    assert "Traceback" not in told and told.count("\n") == 2
    (file,) = tmp_path.glob("avatarzoo-error-*.txt")
    text = file.read_text()
    assert str(file) in told and "Traceback" in text and "avatarzoo fit recipe=mine" in text
    monkeypatch.setenv("AVATARZOO_DEBUG", "1")
    with pytest.raises(KeyError):
        cli.main(["fit"])


def test_a_reader_that_leaves_early_is_no_traceback() -> None:
    run = subprocess.Popen(
        [sys.executable, "-m", "avatarzoo", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert run.stdout is not None and run.stderr is not None
    run.stdout.close()
    told = run.stderr.read()
    run.wait(timeout=300)
    assert "Traceback" not in told
    assert "BrokenPipe" not in told


def test_list_shows_recipes_and_components_with_their_first_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list", "recipes", "rasterizers", "models"]) == 0
    text = capsys.readouterr().out
    for name in ("recipes", "pica_full", "rasterizers", "warp", "torch", "models", "static_texture"):
        assert name in text
    described = [line for line in text.splitlines() if line.startswith("  ")]
    assert all(len(line.split(maxsplit=1)) == 2 for line in described), "a component or recipe says nothing about itself"


def test_list_describes_a_component_by_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list", "encoding=learned_maps", "loss=depth"]) == 0
    text = capsys.readouterr().out
    assert "encoding=learned_maps: " in text and "loss=depth: " in text
    size = next(line for line in text.splitlines() if line.startswith("  encoding.size"))
    assert "int, default" in size
    assert "  phases.PHASE.loss.depth.gate_mm  float, default 10.0" in text
    assert cli.main(["list", "encodng=learned_maps"]) == 2
    assert "Did you mean 'encoding'" in capsys.readouterr().err


def test_list_describes_a_capture_by_its_segments_and_cameras(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    root = tiny_capture.write_capture(tmp_path / "plate")
    words = ["list", "data=multiface", f"data.root={root}", "data.val_fraction=0"]
    assert cli.main(words) == 0
    text = capsys.readouterr().out
    for line in ("multiface: 6 train, 2 test pictures", "segments (3)", "  E001  2 train frames", "  E003  1 test frames"):
        assert line in text
    assert "cameras (2)" in text and "  400002  view Front, 3 train, 1 test pictures" in text
    assert "view.depth" in text.splitlines()[-1]
    assert cli.main([*words[:2], f"data.root={tmp_path / 'plat'}"]) == 2
    assert f"Did you mean '{root}'" in capsys.readouterr().err


def test_doctor_never_breaks_a_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    address = "https://example.org/" + 100 * "x"
    monkeypatch.setattr("avatarzoo.doctor.examine", lambda: [("files", [Finding("LPIPS alex", ABSENT, f"get {address}")])])
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.main(["doctor"]) == 0
    assert f"LPIPS alex  absent  get {address}" in capsys.readouterr().out


def test_doctor_finds_what_is_here_and_proves_it() -> None:
    findings = {section: {finding.what: finding for finding in rows} for section, rows in examine()}
    assert findings["versions"]["torch"].state == GOOD
    assert findings["devices"]["cpu"].state == GOOD
    assert findings["rasterizers"]["torch"].state == GOOD
    assert findings["proof"]["warp"].state == GOOD, findings["proof"]["warp"].detail
    assert not [row for rows in findings.values() for row in rows.values() if row.state == BAD]


def test_doctor_reports_what_breaks_instead_of_breaking() -> None:
    def probe() -> Iterator[Finding]:
        yield Finding("cpu", GOOD, "2 cores")
        raise OSError("no such luck")

    assert _safely("devices", probe) == [Finding("cpu", GOOD, "2 cores"), Finding("devices", BAD, "OSError: no such luck")]


def test_nothing_optional_is_needed_to_list_and_to_look_around() -> None:
    script = f"""
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {OPTIONAL!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Block())
from avatarzoo.cli import main
from avatarzoo import registry
assert main(["--help"]) == 0
assert "torch" not in sys.modules, "help must not wait for PyTorch"
assert main(["list"]) == 0
assert main(["doctor"]) == 0
for kind in registry.KINDS:
    for name in registry.names(kind):
        registry.get(kind, name)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["render", "ckpt=RUN", "fps=abc"], "fps takes int, got 'abc'"),
        (["render", "ckpt=RUN", "size=2.5"], "size takes int, got 2.5"),
        (["render", "ckpt=RUN", "yaw=left"], "yaw takes float, got 'left'"),
        (["test", "ckpt=RUN", "batch_size=many"], "batch_size takes int, got 'many'"),
        (["test", "ckpt=RUN", "workers=-1"], "workers=-1"),
        (["test", "ckpt=RUN", "device=gpu"], "device=gpu is none of"),
        (["curve", "RUN", "batch_size=q"], "batch_size takes int, got 'q'"),
    ],
)
def test_options_of_verbs_have_types(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 2
    assert told in " ".join(capsys.readouterr().err.split())
