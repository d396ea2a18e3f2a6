import json
from dataclasses import replace

import fixtures
import pytest
import tiny_volume
import toy
from torch import nn
from toy import toys  # noqa: F401

from avatarzoo import registry
from avatarzoo.build import build_model
from avatarzoo.errors import ConfigError, DataError
from avatarzoo.fit import fit
from avatarzoo.losses.geometry import TrackedMeshLoss
from avatarzoo.losses.image import ImageLoss
from avatarzoo.requirements import absent_inputs, absent_regions, check_model


def test_what_the_capture_lacks_is_named_before_training(tmp_path):
    with pytest.raises(DataError, match=r"model 'toy' needs view.depth, which data=toy does not provide; .*view.image"):
        fit(toy.config(tmp_path / "a", model__needs="view.depth"))
    term = {"term": "toy_score", "needs": "landmarks"}
    with pytest.raises(DataError, match=r"loss term 'points' of phase 'g' needs landmarks"):
        fit(toy.config(tmp_path / "b", phases__g__loss__points=term))
    assert not (tmp_path / "a").exists()
    fit(
        toy.config(tmp_path / "c", model__needs="mesh", trainer__max_steps=1)
    )  # a group counts when one of its fields is there


class Unprepared(toy.ToyCapture):
    def prepare(self):
        raise AssertionError("the capture is prepared only once all is known to fit")


@pytest.fixture
def unprepared(monkeypatch):
    monkeypatch.setattr(toy.ToyCapture, "prepare", Unprepared.prepare)


def test_model_terms_and_folder_are_checked_before_the_capture_is_read(tmp_path, unprepared):
    with pytest.raises(DataError, match=r"model 'toy' needs view\.depth"):
        fit(toy.config(tmp_path / "a", model__needs="view.depth"))
    with pytest.raises(DataError, match="loss term 'points' of phase 'g' needs landmarks"):
        fit(toy.config(tmp_path / "b", phases__g__loss__points={"term": "toy_score", "needs": "landmarks"}))
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "config.yaml").write_text("recipe: other\n")
    with pytest.raises(ConfigError, match="holds a run already"):
        fit(toy.config(tmp_path / "taken"))
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file; give a folder"):
        fit(toy.config(tmp_path / "file"))
    with pytest.raises(AssertionError, match="only once all is known to fit"):
        fit(toy.config(tmp_path / "free"))


def test_what_a_driver_lacks_is_said_of_the_driver_with_those_that_fit():
    model = nn.Module()
    model.requires = ("driving.flame.expression", "mesh.head_pose")
    model.driver = registry.build("driver", {"name": "flame"}, (4, 2, 2))
    capture = toy.ToyCapture()
    capture.provides = {"mesh.vertices", "mesh.head_pose", "driving.arkit", "driving.frame"}
    with pytest.raises(DataError, match=r"^driver 'flame' needs driving\.flame\.expression, .*does not provide") as caught:
        check_model(model, "pica", capture, "toy")
    assert "What data=toy can feed: driver=arkit, driver=frame_code." in str(caught.value)
    capture.provides.add("driving.flame.jaw")
    with pytest.raises(DataError, match=r"driver=frame_code\. driver.parts=\[jaw\] takes what there is\.$"):
        check_model(model, "pica", capture, "toy")
    capture.stand_ins = {"driving.flame": "data.rig=flame_layout"}
    with pytest.raises(DataError, match=r"data.rig=flame_layout gives it\.$"):
        check_model(model, "pica", capture, "toy")
    model.driver = registry.build("driver", {"name": "arkit"}, (4, 2, 2))
    with pytest.raises(DataError, match=r"^model 'pica' needs driving\.flame\.expression"):
        check_model(model, "pica", capture, "toy")


def test_optional_inputs_that_are_absent_are_announced_and_recorded(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(toy.ToyCapture, "stand_ins", {"view.depth": "data.depth=made_up"})
    term = {"term": "toy_score", "needs": "view.depth?"}
    far = {**term, "of": "real"}
    run = fit(toy.config(tmp_path / "run", trainer__max_steps=1, phases__g__loss__near=term, phases__d__loss__far=far))
    recorded = json.loads((run / "versions.json").read_text())["absent_inputs"]
    assert recorded == {
        "texture.average": ["model toy"],
        "view.depth": ["loss term d/far", "loss term g/near"],
    }
    printed = capsys.readouterr().out
    stays = "without     view.depth, which the capture lacks: loss terms d/far, g/near stay 0; data.depth=made_up renders"
    assert stays in printed
    assert "without     texture.average, which the capture lacks: the model does without" in printed


def test_options_without_effect_on_a_capture_without_regions_are_announced_and_recorded(tmp_path, capsys, monkeypatch):
    def bind(self, summary):
        original(self, summary)
        self.without_effect = () if summary.regions else ("ray_focus",)

    original = toy.ToyAvatar.bind
    monkeypatch.setattr(toy.ToyAvatar, "bind", bind)
    monkeypatch.setattr(toy.L2, "bind", lambda self, summary: setattr(self, "without_effect", ("region_weights",)))
    run = fit(toy.config(tmp_path / "run", trainer__max_steps=1))
    idle = ["ray_focus of model toy", "region_weights of loss term g/toy_l2"]
    assert json.loads((run / "versions.json").read_text())["absent_inputs"]["regions"] == idle
    line = f"without     regions of the surface, of which the capture names none: {', '.join(idle)} have no effect"
    assert line in capsys.readouterr().out


def test_terms_and_ray_focus_say_which_options_a_capture_without_regions_leaves_idle():
    named = fixtures.summary()
    bare = replace(named, regions={})
    weights = {next(iter(named.regions)): 2.0}

    def focused():
        nodes = {**tiny_volume.CONFIG, "model": {**tiny_volume.CONFIG["model"], "ray_focus": weights}}
        return build_model(nodes)

    for make, options in (
        (lambda: ImageLoss(region_weights=weights), ("region_weights",)),
        (lambda: ImageLoss(), ()),
        (lambda: TrackedMeshLoss(exclude=list(weights), region_weights=weights), ("exclude", "region_weights")),
        (lambda: TrackedMeshLoss(exclude=[]), ()),
        (focused, ("ray_focus",)),
    ):
        for summary, expected in ((named, ()), (bare, options)):
            one = make()
            one.bind(summary)
            assert one.without_effect == expected
    capture = toy.ToyCapture()
    capture.prepare()
    term = ImageLoss(region_weights=weights)
    term.bind(bare)
    assert absent_regions(capture, {"loss term image": term}) == {"regions": ["region_weights of loss term image"]}
    capture.summary = named
    assert absent_regions(capture, {"loss term image": term}) == {}


def test_what_is_there_or_not_optional_is_not_absent():
    capture = toy.ToyCapture()
    readers = {"a": ("view.image?", "view?", "view.depth"), "b": ("view.depth?",), "c": ("view.depth?", "driving?")}
    assert absent_inputs(capture, readers) == {"view.depth": ["b", "c"], "driving": ["c"]}
