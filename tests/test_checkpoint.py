import hashlib

import pytest
import torch
import toy
import yaml
from toy import toys  # noqa: F401

import avatarzoo
from avatarzoo import checkpoint, registry
from avatarzoo.build import build_capture, build_model
from avatarzoo.errors import ConfigError


@pytest.fixture
def saved(tmp_path):
    """A checkpoint of an untrained toy, in a run's folder."""
    capture = build_capture(toy.config())
    capture.prepare()
    model = build_model(toy.config(), capture.summary)
    record = {
        "config": checkpoint.to_yaml(toy.config()),
        "summary": capture.summary.to_plain(),
        "iteration": 7,
        "version": avatarzoo.__version__,
        "plugins": [],
    }
    content = {"state_dict": {f"model.{k}": v for k, v in model.state_dict().items()}, "avatarzoo": record}
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    path.parent.mkdir(parents=True)
    torch.save(content, path)
    return path, content, model


def test_a_file_or_its_run_gives_the_model_back(saved):
    path, _, model = saved
    for place in (path, path.parent.parent, str(path.parent)):
        loaded = checkpoint.load(place)
        assert loaded.path == path and loaded.iteration == 7 and loaded.version == avatarzoo.__version__
        assert all(torch.equal(v, loaded.model.state_dict()[k]) for k, v in model.state_dict().items())
        assert not loaded.model.training
    assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert checkpoint.read_config(path) == toy.config()


def test_the_hash_is_of_the_bytes_that_were_loaded(saved, tmp_path, monkeypatch):
    """Training replaces the file in the midst of loading: weights and hash are both of the old one, or both of the new."""
    path, content, model = saved
    old = hashlib.sha256(path.read_bytes()).hexdigest()
    content["state_dict"] = {k: v + 1 for k, v in content["state_dict"].items()}
    torch.save(content, tmp_path / "newer.ckpt")
    original = hashlib.file_digest

    def digest(file, name):
        found = original(file, name)
        (tmp_path / "newer.ckpt").replace(path)
        return found

    monkeypatch.setattr(hashlib, "file_digest", digest)
    loaded = checkpoint.load(path)
    assert loaded.sha256 == old
    assert all(torch.equal(v, loaded.model.state_dict()[k]) for k, v in model.state_dict().items())


def test_what_is_no_checkpoint_is_refused(saved, tmp_path, monkeypatch):
    path, content, _ = saved
    (tmp_path / "runs" / "pica" / "now" / "checkpoints").mkdir(parents=True)
    (tmp_path / "runs" / "pica" / "now" / "checkpoints" / "last.ckpt").touch()
    monkeypatch.chdir(tmp_path)
    hint = r"no checkpoint or run at runs/pica/nwo\. Did you mean 'runs/pica/now'\? The newest runs here: runs/pica/now\."
    with pytest.raises(ConfigError, match=hint):
        checkpoint.find("runs/pica/nwo")
    with pytest.raises(ConfigError, match="no checkpoint or run at"):
        checkpoint.load(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"holds no checkpoints/last\.ckpt"):
        checkpoint.load(tmp_path / "empty")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ConfigError, match="is no readable checkpoint"):
        checkpoint.load(path)
    path.write_text("hello")
    with pytest.raises(ConfigError, match="is no readable checkpoint"):
        checkpoint.load(path)
    torch.save({"state_dict": content["state_dict"]}, path)
    with pytest.raises(ConfigError, match="not a checkpoint of AvatarZoo"):
        checkpoint.load(path)


class Evil:
    def __reduce__(self):
        return (print, ("this must not run",))


def test_a_checkpoint_runs_no_code(saved, capsys):
    path, content, _ = saved
    torch.save(content | {"extra": Evil()}, path)
    with pytest.raises(ConfigError, match="no readable checkpoint: it holds more than tensors"):
        checkpoint.load(path)
    assert "must not run" not in capsys.readouterr().out


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_damaged_checkpoint_says_so_without_what_pytorch_advises(saved, damage):
    path, _, _ = saved
    whole = path.read_bytes()
    middle = len(whole) // 2
    broken = {"cut": whole[:middle], "flipped": whole[:middle] + bytes(255 - b for b in whole[middle:]), "empty": b""}
    path.write_bytes(broken[damage])
    with pytest.raises(ConfigError) as caught:
        checkpoint.read(path)
    size = f"{path.stat().st_size / 1e6:.1f} MB"
    assert str(caught.value) == (
        f"{path} is no readable checkpoint: damaged or cut short ({size}). "
        "Restore it, or start again with avatarzoo fit recipe=NAME."
    )
    assert caught.value.__cause__ is not None, "the cause is there for AVATARZOO_DEBUG"


def test_weights_that_do_not_fit_are_named(saved):
    path, content, _ = saved
    del content["state_dict"]["model.colour"]
    torch.save(content, path)
    with pytest.raises(ConfigError, match="colour"):
        checkpoint.load(path)


def test_a_plug_in_is_asked_for_by_name_and_used_when_given(saved, tmp_path, forget_plugins):
    path, content, _ = saved
    config = toy.config(model={"name": "visitor"})
    content["avatarzoo"] |= {"config": checkpoint.to_yaml(config), "plugins": ["visitor.py"]}
    torch.save(content, path)
    with pytest.raises(ConfigError, match=r"no model called 'visitor'.*made with the plug-in visitor\.py"):
        checkpoint.load(path)
    plugin = tmp_path / "visitor.py"
    plugin.write_text(
        "from toy import ToyAvatar\n"
        "from avatarzoo.registry import register\n\n\n"
        "@register('model', 'visitor')\n"
        "class Visitor(ToyAvatar):\n    pass\n"
    )
    assert type(checkpoint.load(path, plugins=[plugin]).model).__name__ == "Visitor"
    assert "visitor" in registry.names("model")


def test_yaml_text_brings_tuples_and_paths_back_as_lists_and_text(tmp_path):
    text = checkpoint.to_yaml({"a": (1, 2.5e-5), "b": {"c": tmp_path, "d": None}, "e": "00:10:00", "f": 1e-3})
    assert yaml.safe_load(text) == {"a": [1, 2.5e-5], "b": {"c": str(tmp_path), "d": None}, "e": "00:10:00", "f": 1e-3}
