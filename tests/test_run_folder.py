import json
from pathlib import Path

import pytest
import torch
import toy
import yaml
from toy import toys  # noqa: F401
from whole_runs import rows

from avatarzoo import config as configs
from avatarzoo.errors import ConfigError
from avatarzoo.fit import fit
from avatarzoo.run_folder import backends, run_folder


def test_a_new_run_gets_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, second = run_folder({"recipe": "some/where/mine.yaml"}), run_folder({"recipe": "some/where/mine.yaml"})
    assert first.parent == second.parent == Path("runs/mine") and first != second
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "config.yaml").write_text("{}")
    with pytest.raises(ConfigError, match=r"holds a run already; continue it with resume="):
        run_folder({"out": str(tmp_path / "taken")})


def test_a_run_folder_holds_config_versions_metrics_and_the_last_checkpoint(tmp_path, capsys):
    config = toy.config(tmp_path / "run", trainer__max_steps=12)
    run = fit(config)
    assert run == tmp_path / "run"
    assert yaml.safe_load((run / "config.yaml").read_text()) == config
    versions = json.loads((run / "versions.json").read_text())
    assert versions["torch"] == torch.__version__.split("+")[0] or versions["torch"] == torch.__version__
    table = rows(run)
    assert [r["iteration"] for r in table] == ["1", "10", "12"]
    assert float(table[-1]["progress"]) == 1.0
    assert all(r["g/toy_l2"] for r in table) and float(table[-1]["g/toy_l2"]) < float(table[0]["g/toy_l2"])
    assert table[-1]["r1/toy_score"] == "", "a phase that did not act since the last row leaves its cell empty"
    printed = capsys.readouterr().out
    for words in ("1,612 parameters: generator 1,386", "cpu", "precision 32-true", f"avatarzoo test ckpt={run}"):
        assert words in printed
    assert f"{run}/checkpoints/last.ckpt (12 steps)" in printed
    assert not list(run.rglob("*.partial"))


def test_the_backends_that_were_chosen_are_named():
    assert backends(configs.load("pica_full").resolved) == "rasterizer warp"
    chosen = configs.load("pica_hash", ["rasterizer=torch", "encoding.backend=torch"]).resolved
    assert backends(chosen) == "rasterizer torch, hash_grid on torch"
    assert backends({"model": {"name": "plain"}}) == "rasterizer none"
