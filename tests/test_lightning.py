"""The training step: phases, freezing, slices, clipping, schedules, finiteness. Real runs of the toy, in this process."""

import copy
import math
from types import SimpleNamespace

import lightning as L
import pytest
import torch
import toy
from toy import toys  # noqa: F401

from avatarzoo.accumulation import join, slices
from avatarzoo.batch import Prediction, collate
from avatarzoo.build import build_capture, build_model
from avatarzoo.callbacks.checkpoints import Checkpoints
from avatarzoo.datamodules.base import SampleStream, ZooData
from avatarzoo.errors import ConfigError, NonFiniteError
from avatarzoo.fit import prepare_module
from avatarzoo.lightning import ZooModule
from avatarzoo.phases import set_learning_rates
from avatarzoo.schedules import Moment
from avatarzoo.trainer import build_trainer


def make(config):
    """Return module, data and capture of a config, not run yet."""
    torch.manual_seed(0)
    capture = build_capture(config)
    capture.prepare()
    module = prepare_module(config, build_model(config), capture)
    accumulate = module.phases[0].accumulate
    data = ZooData(capture, config["loader"]["batch_size"] * accumulate, 0, module.seed)
    return SimpleNamespace(module=module, data=data, capture=capture)


def run(config, tmp_path, callbacks=()):
    made = make(config)
    made.trainer = build_trainer(config, made.module, tmp_path, list(callbacks))
    made.trainer.fit(made.module, datamodule=made.data)
    return made


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(a, b, tolerance=0.0):
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=tolerance, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}")


class Watch(L.Callback):
    """Keep the weights after every step."""

    def __init__(self):
        self.states = []

    def on_train_start(self, trainer, module):
        self.states.append(weights(module.model))

    def on_train_batch_end(self, trainer, module, *_):
        self.states.append(weights(module.model))


def test_phases_act_in_order_and_the_lazy_one_every_fourth_step(tmp_path):
    made = run(toy.config(trainer__max_steps=6), tmp_path)
    with_lazy, without = ["d", "g", "r1"], ["d", "g"]
    assert [name for name, _ in made.module.model.log] == with_lazy + without * 3 + with_lazy + without
    progress = [p for name, p in made.module.model.log if name == "d"]
    assert progress == pytest.approx([i / 6 for i in range(6)])
    assert made.module.iteration == 6
    assert made.trainer.global_step == 14  # optimizer steps, which is why the module counts its own iteration


def test_a_phase_sees_everything_else_frozen(tmp_path):
    made = run(toy.config(trainer__max_steps=2), tmp_path)
    discriminator, generator = {"discriminator"}, {"generator", "colour"}
    assert made.module.model.free == {"d": discriminator, "g": generator, "r1": discriminator}
    assert all(p.requires_grad for p in made.module.model.parameters()), "freezing ends with the phase"


def test_only_what_a_phase_trains_moves(tmp_path):
    watch = Watch()
    phases = {name: node for name, node in toy.config()["phases"].items() if name != "r1"}
    phases["g"]["start"] = 2
    phases["d"]["every"] = 3
    made = run(toy.config(trainer__max_steps=4, phases=phases), tmp_path, [watch])
    moved = [
        {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
        for before, after in zip(watch.states, watch.states[1:], strict=False)
    ]
    generator = {"generator", "colour", "mean_image"}
    assert moved == [{"discriminator", "mean_image"}, set(), generator, generator | {"discriminator"}]
    assert made.module.iteration == 4


def test_a_part_that_no_phase_trains_is_frozen_for_good(tmp_path):
    made = make(toy.single())
    assert not any(p.requires_grad for p in made.module.model.discriminator.parameters())
    assert all(p.requires_grad for p in made.module.model.generator.parameters())


def test_one_step_equals_plain_pytorch(tmp_path):
    """Two steps of the single-phase toy against a loop written out by hand: Adam, cosine, weights, clip, running mean."""
    phase = {
        "trains": ["generator", "colour"],
        "loss": {"toy_l2": {"weight": 2.0}, "toy_mean": {"weight": 0.5, "start": 1, "ramp": 2}},
        "optimizer": {"lr": 1e-2, "lr_by_part": {"colour": 0.1}, "decay": "cosine", "final": 0.2},
        "clip": 0.05,
    }
    config = toy.single(trainer__max_steps=3, phases={"fit": phase})
    made = make(config)
    model = copy.deepcopy(made.module.model)
    made.trainer = build_trainer(config, made.module, tmp_path, [])
    made.trainer.fit(made.module, datamodule=made.data)

    samples, stream = made.capture.splits["train"], SampleStream(12, 2, seed=3)
    generator = list(model.generator.parameters())
    optimizer = torch.optim.Adam([{"params": generator}, {"params": [model.colour], "lr": 0.1}], lr=1e-2)
    for step, (weight, base) in enumerate(zip((0.0, 0.0, 0.25), (0, 1, 2), strict=True)):
        batch = collate([made.capture.read(samples[i], key) for i, key in stream.at(base)])
        image = model.generate(batch, torch.stack([_noise(k) for k in batch.meta.noise_key.tolist()]))
        l2 = (image - batch.view.image).square().mean()
        loss = 2 * l2 + weight * (image - model.mean_image).square().mean()
        factor = 0.2 + 0.8 * (1 + math.cos(math.pi * step / 3)) / 2
        for group, rate in zip(optimizer.param_groups, (1e-2, 0.1), strict=True):
            group["lr"] = rate * factor
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_([*generator, model.colour], 0.05)
        assert norm > 0.05, "the clip has to bite for this test to mean anything"
        optimizer.step()
        model.mean_image = 0.9 * model.mean_image + 0.1 * image.detach().mean(0)
    same(weights(model), weights(made.module.model), 1e-6)


def _noise(key):
    return torch.randn(2, generator=torch.Generator().manual_seed(key))


@pytest.mark.parametrize("make_config", [toy.single, toy.config])
def test_slices_equal_the_whole_batch(tmp_path, make_config):
    """accumulate=2 with 2 pictures is one batch of 4, running averages and carried values included."""

    def phases(count):
        nodes = make_config()["phases"]
        return {name: {**node, "accumulate": count, "clip": 0.5} for name, node in nodes.items()}

    whole = run(make_config(loader__batch_size=4, phases=phases(1), trainer__max_steps=5), tmp_path / "a")
    sliced = run(make_config(loader__batch_size=2, phases=phases(2), trainer__max_steps=5), tmp_path / "b")
    same(weights(whole.module.model), weights(sliced.module.model), 1e-5)


def test_a_term_that_is_off_is_still_computed_and_counts_nothing(tmp_path):
    off = run(toy.config(phases__g__loss__toy_score={"weight": 0.1, "start": 100}), tmp_path / "a")
    gone = toy.config()
    del gone["phases"]["g"]["loss"]["toy_score"]
    without = run(gone, tmp_path / "b")
    same(weights(off.module.model), weights(without.module.model), 1e-7)
    assert "g/toy_score" in off.module.take_means()


def test_a_picture_that_is_not_finite_stops_the_run_before_the_weights_change(tmp_path):
    watch, checkpoints = Watch(), Checkpoints(tmp_path, every=1)
    config = toy.single(data__bad_frame=4, loader__batch_size=3, trainer__max_steps=20)
    with pytest.raises(NonFiniteError) as caught:
        run(config, tmp_path, [watch, checkpoints])
    message = str(caught.value)
    stream = SampleStream(12, 3, seed=3)
    step = next(i for i in range(20) if any(index // 2 == 4 for index, _ in stream.at(i)))
    assert step > 0
    bad = ["S1/004/" + ("left", "front")[index % 2] for index, _ in stream.at(step) if index // 2 == 4]
    assert all(name in message for name in bad)
    assert message.count("S1/") == len(bad), "only the frames that are not finite are named"
    assert f"iteration {step}" in message and "'fit'" in message and "toy_l2" in message and "toy_mean" not in message
    saved = torch.load(checkpoints.path, weights_only=True)
    assert saved["avatarzoo"]["iteration"] == step
    same({k.removeprefix("model."): v for k, v in saved["state_dict"].items()}, watch.states[-1])


def test_a_gradient_that_is_not_finite_stops_the_run_too(tmp_path):
    config = toy.single()
    made = make(config)
    made.module.model.colour.register_hook(lambda grad: grad * math.inf)
    made.trainer = build_trainer(config, made.module, tmp_path, [])
    before = weights(made.module.model)
    with pytest.raises(NonFiniteError, match=r"gradient .*phase 'fit' at iteration 0, for S1/\d+/\w+, S1/"):
        made.trainer.fit(made.module, datamodule=made.data)
    same(before, weights(made.module.model))


def test_bf16_trains_and_terms_see_float32(tmp_path, monkeypatch):
    seen = set()
    original = toy.L2.__call__

    def look(self, prediction, batch):
        seen.add((prediction.image.dtype, torch.is_autocast_enabled("cpu")))
        return original(self, prediction, batch)

    monkeypatch.setattr(toy.L2, "__call__", look)
    rounded = run(toy.config(trainer__precision="bf16-mixed", trainer__max_steps=4), tmp_path / "a")
    exact = run(toy.config(trainer__max_steps=4), tmp_path / "b")
    assert seen == {(torch.float32, False)}
    a, b = weights(rounded.module.model), weights(exact.module.model)
    assert {v.dtype for v in a.values()} == {torch.float32}
    assert not torch.equal(a["generator.0.weight"], b["generator.0.weight"]), "bf16 was really used"
    same(a, b, 0.05)


def test_gradients_are_not_computed_under_autocast(tmp_path, monkeypatch):
    """A backward pass under autocast would round what float32 islands, such as the Laplacian, computed exactly."""
    seen = []

    class Island(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            seen.append((torch.is_autocast_enabled("cpu"), (gradient @ gradient.T).dtype))
            return gradient

    original = toy.L2.__call__

    def through_island(self, prediction, batch):
        prediction.image = Island.apply(prediction.image.flatten(1)).reshape(prediction.image.shape)
        return original(self, prediction, batch)

    monkeypatch.setattr(toy.L2, "__call__", through_island)
    run(toy.single(trainer__precision="bf16-mixed", trainer__max_steps=2), tmp_path)
    assert seen == [(False, torch.float32)] * 2


def test_the_end_of_the_run_is_the_earlier_of_steps_and_time():
    module = make(toy.single(trainer__max_steps=100, trainer__max_time="00:01:40")).module
    module._elapsed_before = 25.0
    module.iteration = 10
    assert module.progress == pytest.approx(0.25)
    module.iteration = 80
    assert module.progress == pytest.approx(0.8)
    module._elapsed_before = 1000.0
    assert module.progress == 1.0


def test_schedules_follow_the_clock_where_time_alone_ends_the_run():
    plan = {"lr": 1.0, "decay": "cosine", "final": 0.0, "warmup": 0.5}
    changes = {"trainer__max_steps": None, "trainer__max_time": 200, "phases__fit__optimizer": plan}
    module = make(toy.single(**changes)).module
    phase = module.phases[0]
    optimizer = module.configure_optimizers()[0]
    for elapsed, expected in ((0, 0.0), (50, 0.5 * (1 + math.cos(math.pi / 4)) / 2), (100, 0.5), (200, 0.0)):
        module._elapsed_before, module.iteration = elapsed, 12345
        assert module.progress == pytest.approx(elapsed / 200)
        rates = set_learning_rates(phase, optimizer, Moment(module.iteration, module.progress))
        assert rates["generator"] == pytest.approx(expected, abs=1e-9)
    assert module.progress == 1.0


def test_a_run_stops_when_its_time_is_over(tmp_path):
    made = run(toy.single(trainer__max_steps=None, trainer__max_time=0.2), tmp_path)
    assert 0 < made.module.iteration < 10**6
    assert made.module.elapsed >= 0.2


def test_runs_without_an_end_and_models_with_stray_parameters_are_refused():
    with pytest.raises(ConfigError, match="no end"):
        make(toy.single(trainer__max_steps=None))
    model = build_model(toy.single())
    model.stray = torch.nn.Parameter(torch.zeros(1))
    model.colour = torch.nn.Parameter(torch.zeros(3))
    with pytest.raises(ConfigError, match="leaves parameters out: stray"):
        ZooModule(model, [], {}, max_steps=1)


def test_a_term_of_the_wrong_shape_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(toy.L2, "__call__", lambda self, prediction, batch: prediction.image.mean())
    with pytest.raises(ConfigError, match=r"'toy_l2'.*shape \(\).*\(2,\)"):
        run(toy.single(), tmp_path)


def test_random_draws_of_a_model_are_a_function_of_the_step(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(toy.ToyAvatar, "after_step", lambda self, *_: drawn.append(torch.rand(()).item()))
    first = make(toy.single(trainer__max_steps=4))
    build_trainer(toy.single(), first.module, tmp_path, []).fit(first.module, datamodule=first.data)
    again = make(toy.single(trainer__max_steps=4))
    again.module.iteration = again.data.start_iteration = 2
    torch.rand(17)
    build_trainer(toy.single(), again.module, tmp_path, []).fit(again.module, datamodule=again.data)
    assert len(set(drawn[:4])) == 4
    assert drawn[2:4] == drawn[4:]


def test_a_batch_moves_whole_but_for_the_keys_that_generators_read():
    module, capture = make(toy.single()).module, toy.ToyCapture()
    batch = collate([capture.read(s, 7 + k) for k, s in enumerate(capture.splits["train"][:2])])
    moved = module.transfer_batch_to_device(batch, torch.device("meta"), 0)
    assert moved.view.image.device.type == moved.meta.frame.device.type == "meta"
    assert moved.meta.noise_key.tolist() == [7, 8] and batch.meta.frame.device.type == "cpu"
    assert slices(moved, 2)[1].meta.noise_key.tolist() == [8]


def test_slicing_and_joining():
    capture = toy.ToyCapture()
    batch = collate([capture.read(s, k) for k, s in enumerate(capture.splits["train"][:5])])
    pieces = slices(batch, 2)
    assert [p.size for p in pieces] == [3, 2]
    assert torch.equal(torch.cat([p.view.image for p in pieces]), batch.view.image)
    assert pieces[1].meta.describe(0) == batch.meta.describe(3)
    table = torch.arange(7)
    predictions = [Prediction(image=p.view.image, extras={"code": p.meta.frame, "table": table}) for p in pieces]
    joined = join(predictions, [3, 2])
    assert torch.equal(joined.image, batch.view.image) and joined.depth is None
    assert torch.equal(joined.extras["code"], batch.meta.frame) and torch.equal(joined.extras["table"], table)


def test_rates_and_columns_are_logged_by_phase_and_part(tmp_path):
    module = run(toy.config(trainer__max_steps=2), tmp_path).module
    means = module.take_means()
    assert means["d/total"] == pytest.approx(means["d/real"] + means["d/fake"], rel=1e-5)
    assert set(means) | set(module.rates) == set(module.columns)
    assert module.rates["lr/g.colour"] == pytest.approx(5 * module.rates["lr/g.generator"])
    assert module.take_means() == {}
