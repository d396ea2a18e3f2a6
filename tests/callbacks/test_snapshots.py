from itertools import count
from types import SimpleNamespace

import pytest
import toy
from toy import toys  # noqa: F401

from avatarzoo import checkpoint, lightning
from avatarzoo.callbacks.snapshots import Snapshots
from avatarzoo.errors import ConfigError
from avatarzoo.fit import fit
from avatarzoo.schema import check_config


def trainer(saved):
    def save(path, weights_only):
        path.write_bytes(b"weights")
        saved.append((path.name, weights_only))

    strategy = SimpleNamespace(broadcast=lambda value: value)
    return SimpleNamespace(is_global_zero=True, should_stop=False, strategy=strategy, save_checkpoint=save)


def run(folder, minutes, seconds, iteration=0, first=0.0):
    saved, place = [], None
    callback, module = Snapshots(folder, minutes), SimpleNamespace(elapsed=first, iteration=iteration)
    place = trainer(saved)
    callback.setup(place, module, "fit")
    callback.on_train_start(place, module)
    for elapsed in seconds:
        module.elapsed, module.iteration = elapsed, module.iteration + 1
        callback.on_train_batch_end(place, module)
    return saved, sorted(p.name for p in folder.glob("checkpoints/*.ckpt"))


def test_one_snapshot_per_interval_even_where_steps_are_longer(tmp_path):
    saved, files = run(tmp_path, 1, [30, 59, 61, 90, 119, 200, 239, 240])
    assert files == ["snapshot_00001.02.ckpt", "snapshot_00003.33.ckpt", "snapshot_00004.00.ckpt"]
    assert all(weights_only for _, weights_only in saved)


def test_none_by_default(tmp_path):
    assert run(tmp_path, None, [30, 600, 6000])[1] == []


def test_a_resumed_run_drops_snapshots_past_its_checkpoint_and_takes_the_next_when_due(tmp_path):
    run(tmp_path, 1, [61, 125, 190])
    _, files = run(tmp_path, 1, [110, 119, 121, 150], iteration=2, first=100.0)
    assert files == ["snapshot_00001.02.ckpt", "snapshot_00002.02.ckpt"]


def test_files_of_the_user_s_own_stay_and_are_no_snapshots(tmp_path):
    run(tmp_path, 1, [61])
    own = [tmp_path / "checkpoints" / f"snapshot_{name}.ckpt" for name in ("best", "1e9", "99", "00099.00-copy", "nan")]
    for path in own:
        path.write_bytes(b"mine")
    run(tmp_path, 1, [110, 119], iteration=2, first=100.0)
    assert all(path.exists() for path in own)
    found = checkpoint.snapshots(tmp_path / "checkpoints")
    assert {path.name: minutes for path, minutes in found.items()} == {"snapshot_00001.02.ckpt": 1.02}
    assert checkpoint.snapshots(tmp_path / "absent") == {}


@pytest.mark.parametrize("minutes", [0.01, 7.5, 99999.99, 123456.78])
def test_a_snapshot_s_name_says_when_it_was_taken(tmp_path, minutes):
    path = checkpoint.snapshot_path(tmp_path, minutes)
    path.touch()
    assert checkpoint.snapshots(tmp_path) == {path: minutes}


def test_a_snapshot_loads_as_the_model_it_was(tmp_path, monkeypatch):
    ticks = count()  # a clock that moves by a second whenever it is read: each step takes longer than the interval
    monkeypatch.setattr(lightning, "time", SimpleNamespace(monotonic=lambda: float(next(ticks))))
    config = toy.config(tmp_path / "run", trainer__max_steps=4)
    config["checkpoint"]["snapshot_minutes"] = 0.01
    folder = fit(config)
    files = list(checkpoint.snapshots(folder / "checkpoints"))
    assert len(files) == 3, "one after each step but the last"
    content = checkpoint.read(files[0])
    assert "optimizer_states" not in content
    assert 1 <= content["avatarzoo"]["iteration"] < 4 and content["avatarzoo"]["elapsed"] > 0
    assert checkpoint.load(files[0]).iteration == content["avatarzoo"]["iteration"]


@pytest.mark.parametrize("minutes", [0, -2.0, 0.009, float("nan")])
def test_intervals_are_at_least_what_names_tell_apart(minutes):
    config = toy.config("unused")
    config["checkpoint"]["snapshot_minutes"] = minutes
    with pytest.raises(ConfigError, match="snapshot_minutes"):
        check_config(config)
