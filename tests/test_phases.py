import pytest
import torch
from torch import nn

from avatarzoo.errors import ConfigError
from avatarzoo.phases import build_optimizer, read_phases, seconds, set_learning_rates, trained_parts
from avatarzoo.schedules import Moment


def phase(**node):
    return read_phases({"fit": {"loss": {"image": {"weight": 2}}} | node})[0]


def parts():
    return {"encoder": nn.Linear(2, 3), "decoder": nn.Linear(3, 2)}


def test_a_term_keeps_its_options_and_loses_its_schedule():
    term = phase(loss={"depth": {"weight": 10, "start": 0.1, "ramp": 0.2, "gate_mm": 10}}).terms[0]
    assert (term.key, term.component) == ("depth", {"name": "depth", "gate_mm": 10})
    assert (term.weight, term.start, term.ramp) == (10.0, 0.1, 0.2)


def test_a_term_may_have_another_key_than_its_name_and_be_a_bare_weight():
    terms = phase(loss={"first": {"term": "image", "weight": 1}, "image": 3}).terms
    assert [(t.key, t.component["name"], t.weight) for t in terms] == [("first", "image", 1.0), ("image", "image", 3.0)]


def test_trains_null_means_every_part_and_rates_go_by_part():
    modules = parts()
    plan = phase(optimizer={"lr": 1e-3, "lr_by_part": {"decoder": 1e-2}, "decay": "cosine", "final": 0.0})
    optimizer = build_optimizer(plan, trained_parts(plan, modules))
    assert [(g["part"], g["lr"], len(g["params"])) for g in optimizer.param_groups] == [
        ("encoder", 1e-3, 2),
        ("decoder", 1e-2, 2),
    ]
    assert set_learning_rates(plan, optimizer, Moment(0, 0.5)) == pytest.approx({"encoder": 5e-4, "decoder": 5e-3})
    assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([5e-4, 5e-3])


def test_options_reach_the_optimizer():
    adam = phase(optimizer={"name": "adamw", "betas": [0.0, 0.99], "eps": 1e-6, "weight_decay": 0.1})
    group = build_optimizer(adam, trained_parts(adam, parts())).param_groups[0]
    assert (group["betas"], group["eps"], group["weight_decay"]) == ((0.0, 0.99), 1e-6, 0.1)
    sgd = phase(optimizer={"name": "sgd", "momentum": 0.9})
    assert isinstance(build_optimizer(sgd, trained_parts(sgd, parts())), torch.optim.SGD)


def test_a_shared_parameter_is_trained_once_and_a_frozen_one_never():
    modules = parts()
    modules["decoder"].weight = modules["encoder"].weight
    modules["encoder"].bias.requires_grad_(False)
    groups = trained_parts(phase(), modules)
    assert {name: len(ps) for name, ps in groups.items()} == {"encoder": 1, "decoder": 1}


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"trains": ["encodr"]}, "encoder"),
        ({"trains": ["encoder"], "optimizer": {"lr_by_part": {"decoder": 1.0}}}, "lr_by_part names 'decoder'"),
        ({"trains": []}, "nothing to train"),
    ],
)
def test_parts_that_do_not_fit_are_named(node, words):
    with pytest.raises(ConfigError, match=words):
        trained_parts(phase(**node), parts())


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"optimizer": {"name": "adm"}}, "adam"),
        ({"optimizer": {"decay": "cosin"}}, "cosine"),
        ({"optimizer": {"lrr": 1}}, "lrr"),
        ({"optimizer": {"name": "sgd", "betas": [0, 1]}}, "betas"),
        ({"every": 0}, "every=0"),
        ({"accumulate": 1.5}, "accumulate"),
        ({"clip": 0}, "clip"),
        ({"evry": 3}, "every"),
        ({"loss": {}}, "loss is empty"),
        ({"loss": {"image": {"weight": "much"}}}, "weight"),
        ({"loss": {"image": {"start": -1}}}, "start"),
        ({"loss": {"image": {"start": 2.5}}}, "whole"),
        ({"loss": {"image": {"start": 0.1, "ramp": 100}}}, "mixes steps and fractions"),
        ({"start": 10, "optimizer": {"warmup": 0.1}}, "mixes steps and fractions"),
    ],
)
def test_contradictions_are_refused_by_name(node, words):
    with pytest.raises(ConfigError, match=words):
        phase(**node)


def test_phases_of_a_step_share_its_slices():
    loss = {"loss": {"image": 1}}
    with pytest.raises(ConfigError, match="accumulate"):
        read_phases({"d": loss | {"accumulate": 2}, "g": loss})
    with pytest.raises(ConfigError, match="no phases"):
        read_phases({})


@pytest.mark.parametrize(
    ("text", "expected"),
    [("00:10:00", 600), ("1:02:03:04", 93784), (90, 90), ("90", 90), (0.5, 0.5), (None, None)],
)
def test_durations(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["ten minutes", "10:00", -5, 0, True, "nan"])
def test_bad_durations_are_refused(text):
    with pytest.raises(ConfigError, match="max_time"):
        seconds(text)
