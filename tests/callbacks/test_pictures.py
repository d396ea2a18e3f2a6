import lightning as L
import numpy as np
import torch
import toy
from PIL import Image
from toy import toys  # noqa: F401

from avatarzoo.batch import Prediction
from avatarzoo.build import build_capture, build_model
from avatarzoo.callbacks import pictures as callback
from avatarzoo.callbacks.pictures import Pictures
from avatarzoo.fit import fit
from avatarzoo.geometry.cameras import to_clip
from avatarzoo.rasterizers.torch import TorchRasterizer


def capture():
    found = build_capture(toy.config())
    found.prepare()
    return found


def test_the_front_view_comes_first_and_the_choice_is_fixed():
    made = capture()
    chosen = callback.choose(made, 3)
    assert chosen == callback.choose(made, 3)
    assert [(s.segment, s.camera) for s in chosen] == [("S2", "front"), ("S2", "left")]
    made.splits["val"] = []
    assert {s.segment for s in callback.choose(made, 3)} == {"S1"}
    made.summary.cameras.views = {}
    assert len(callback.choose(made, 1)) == 1


def test_grids_are_drawn_at_the_start_at_every_so_many_steps_and_at_the_end(tmp_path):
    run = fit(toy.config(tmp_path / "run", trainer__max_steps=5, pictures__every=2))
    names = sorted(p.name for p in (run / "pictures").iterdir())
    assert names == [f"step_{i:06d}.png" for i in (0, 2, 4, 5)]
    first, last = (np.asarray(Image.open(run / "pictures" / n)).astype(int) for n in (names[0], names[-1]))
    assert first.shape == last.shape == (32 + 2 * 100 - 4 + 32, 5 * 100 - 4, 3)
    assert not np.array_equal(first[:16], last[:16]), "the title says the step"
    below = slice(16, None)
    target, render = slice(0, 96), slice(100, 196)
    assert np.array_equal(first[below, target], last[below, target])
    assert not np.array_equal(first[below, render], last[below, render])


def test_drawing_leaves_the_model_as_it_was():
    made = capture()
    model = build_model(toy.config(), made.summary)
    model.train()
    batch = callback.collate([made.read(s) for s in made.splits["val"][:2]])
    seen = []
    model.register_forward_pre_hook(lambda *_: None)
    original = model.render
    model.render = lambda b: seen.append((model.training, torch.is_grad_enabled())) or original(b)
    sheet = callback.draw(model, batch)
    assert seen == [(False, False)] * 2
    assert model.training and sheet.shape[0] == 16 + 200 - 4 + 32


def test_the_mesh_is_shaded_from_its_raster_with_the_cameras_orientation():
    """A plane tilted towards the light is brighter than one tilted away; row 0 is the picture's top."""
    made = capture()
    batch = made.read(made.splits["val"][0])
    size = (32, 32)
    batch.view.camera.K = torch.tensor([[[30.0, 0, 15.5], [0, 30, 15.5], [0, 0, 1]]])
    batch.view.camera.size = size
    # a roof: an upper slope that faces up and a lower slope that faces down, the ridge nearest to the camera
    vertices = torch.tensor(
        [[[-40.0, -40, 150], [40, -40, 150], [-40, 0, 110], [40, 0, 110], [-40, 40, 150], [40, 40, 150]]]
    )
    # separate corners at the ridge keep the slopes' normals apart
    vertices = torch.cat([vertices, vertices[:, 2:4]], dim=1)
    triangles = torch.tensor([[0, 2, 1], [1, 2, 3], [6, 4, 7], [7, 4, 5]], dtype=torch.int32)
    raster = TorchRasterizer().rasterize(to_clip(vertices, batch.view.camera.K, size), triangles, size)
    prediction = Prediction(vertices=vertices, extras={"raster": raster, "mesh_triangles": triangles})
    shaded = callback.mesh_cell(prediction, batch)
    assert shaded.shape == (32, 32, 3)
    assert shaded[8, 16, 0] > shaded[24, 16, 0] + 0.2
    from_depth = Prediction(depth=torch.full((1, 1, 32, 32), 500.0))
    assert callback.mesh_cell(from_depth, batch)[5, 5].min() > 0.5
    assert callback.mesh_cell(Prediction(), batch) is None


def test_nothing_is_drawn_when_switched_off_or_for_a_model_without_pictures(tmp_path):
    run = fit(toy.config(tmp_path / "run", trainer__max_steps=1))
    assert not (run / "pictures").exists()
    assert Pictures(tmp_path, capture(), 0).last is None
    assert issubclass(Pictures, L.Callback)
