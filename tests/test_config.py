"""Recipes, overrides and their mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from avatarzoo import config
from avatarzoo.compose import parse_override, split_list
from avatarzoo.errors import ConfigError

pytestmark = pytest.mark.usefixtures("forget_plugins")
PLUGIN = Path(__file__).parent / "plugin" / "parts.py"


def load(*overrides: str, recipe: str | Path | None = "plug_small") -> config.Config:
    return config.load(recipe, overrides, [PLUGIN])


def write(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return folder / name


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("12", 12),
        ("1e-3", 1e-3),
        ("-0.5", -0.5),
        ("true", True),
        ("null", None),
        ("adam", "adam"),
        ("00:08:00", "00:08:00"),
        ("000123", "000123"),
        ("[1,2.5,x]", [1, 2.5, "x"]),
        ("{name: a, n: [1, 'b c']}", {"name": "a", "n": [1, "b c"]}),
        ("'12'", "12"),
        ("/captures/my head", "/captures/my head"),
        ("/captures/a,b", "/captures/a,b"),
        ("/captures/x=1,y=2", "/captures/x=1,y=2"),
        ("/captures/[old] (2)", "/captures/[old] (2)"),
        ("tracked-v1,rasterised-v1", "tracked-v1,rasterised-v1"),
        ("choice(a,b)", "choice(a,b)"),
        ("", ""),
    ],
)
def test_a_value_is_read_as_hydra_reads_it_or_to_the_letter(raw: str, value: object) -> None:
    key, got = parse_override("data.root=" + raw)
    assert key == "data.root"
    assert got == value
    assert type(got) is type(value)


def test_a_tilde_means_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert parse_override("data.root=~/heads/a=b")[1] == "/home/someone/heads/a=b"


@pytest.mark.parametrize("text", ["x", "=1", "a..b=1", ".a=1", ""])
def test_what_is_not_key_value_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="key=value"):
        parse_override(text)


def test_lists_are_split() -> None:
    assert split_list("a, b,") == split_list(["a", "b"]) == ["a", "b"]
    assert split_list(None) == []
    assert split_list(400002) == ["400002"]


def test_every_key_is_filled_in_with_its_type() -> None:
    resolved = load().resolved
    assert resolved["model"] == {
        "name": "plug_model",
        "side": 16,
        "width": 8,
        "gain": 2.0,
        "mode": "exact",
        "range": [0.0, 1.0],
        "cameras": None,
        "warm": 0,
        "anything": None,
    }
    assert type(resolved["model"]["gain"]) is float  # `2` in the recipe, a float in the signature
    assert resolved["phases"]["fit"]["loss"] == {"plug_colour": {"weight": 2.0, "start": 0, "ramp": 0, "squared": True}}
    assert resolved["phases"]["fit"]["optimizer"]["betas"] == [0.9, 0.99]
    assert resolved["phases"]["fit"]["trains"] is None
    assert resolved["loader"] == {"batch_size": 4, "workers": 2}
    assert resolved["recipe"] == "plug_small"
    assert "rasterizer" not in resolved


def test_scale_picks_numbers_and_words_and_overrides_still_win() -> None:
    small = load("scale=small").resolved
    assert (small["model"]["side"], small["model"]["gain"], small["model"]["mode"]) == (4, 0.5, "fast")
    assert small["trainer"]["max_steps"] == 10
    assert type(small["trainer"]["max_steps"]) is int
    assert small["phases"]["fit"]["optimizer"]["lr"] == 0.01
    assert load("model.side=5", "scale=small")["model"]["side"] == 5


def test_a_name_replaces_a_component_and_a_key_sets_an_option() -> None:
    assert load("encoding.bands=3")["encoding"] == {"name": "plug_wave", "bands": 3}
    assert load("encoding=plug_wave", "encoding.bands=3")["encoding"]["bands"] == 3
    assert load("encoding.levels=9", "encoding=plug_grid")["encoding"] == {"name": "plug_grid", "levels": 9, "table": None}
    assert load("encoding={name: plug_grid, levels: 2}")["encoding"]["levels"] == 2


def test_paths_with_anything_in_them_arrive_whole() -> None:
    path = "/my captures/a=b, [old] {x}"
    assert load("data=plug_files", f"data.root={path}")["data"]["root"] == path
    assert load("encoding=plug_grid", f"encoding.table={path}")["encoding"]["table"] == path


def test_camera_names_stay_text() -> None:
    assert load("model.cameras=[400002,400013]")["model"]["cameras"] == ["400002", "400013"]
    assert load("model.cameras=front")["model"]["cameras"] == "front"


def test_a_users_recipe_builds_on_a_shipped_one(tmp_path: Path) -> None:
    text = "defaults: [plug_small]\nencoding: {name: plug_grid, levels: 7}\ntrainer: {max_steps: 3}\n"
    recipe = write(tmp_path / "my recipes, 2", "mine=1.yaml", text)
    resolved = load(recipe=recipe).resolved
    assert resolved["encoding"] == {"name": "plug_grid", "levels": 7, "table": None}  # nothing left of plug_wave
    assert resolved["trainer"]["max_steps"] == 3
    assert resolved["recipe"] == str(recipe)
    assert load("trainer=bf16", recipe=recipe)["trainer"] == resolved["trainer"] | {"precision": "bf16-mixed"}


def test_a_group_in_the_users_folder_is_found(tmp_path: Path) -> None:
    recipe = write(tmp_path, "mine.yaml", "defaults: [plug_small]\n")
    write(tmp_path / "data", "lab.yaml", "name: plug_files\nroot: /lab\n")
    write(tmp_path / "trainer", "long.yaml", "defaults: [default]\nprecision: bf16-mixed\n")
    resolved = load("data=lab", "trainer=long", "data.image_height=64", recipe=recipe).resolved
    assert resolved["data"] == {"name": "plug_files", "root": "/lab", "image_height": 64}
    assert resolved["trainer"]["precision"] == "bf16-mixed"
    assert resolved["trainer"]["max_steps"] == 400_000


def test_a_run_may_be_limited_by_time_alone() -> None:
    trainer = load("trainer.max_steps=null", "trainer.max_time=600")["trainer"]
    assert (trainer["max_steps"], trainer["max_time"]) == (None, 600)


def test_null_takes_a_term_or_a_phase_out() -> None:
    resolved = load("phases.fit.loss.again={term: plug_colour, weight: 3}", "phases.fit.loss.plug_colour=null").resolved
    assert list(resolved["phases"]["fit"]["loss"]) == ["again"]
    resolved = load("phases.more={loss: {plug_colour: 1}}", "phases.fit=null").resolved
    assert list(resolved["phases"]) == ["more"]
    assert resolved["phases"]["more"]["loss"]["plug_colour"]["weight"] == 1.0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("encodng=plug_grid", "no option encodng. Did you mean 'encoding'"),
        ("encoding=plug_gird", "no encoding called 'plug_gird'. Did you mean 'plug_grid'"),
        ("encoding.band=3", "no option encoding.band. Did you mean 'encoding.bands'"),
        ("data.root=/x", "no option data.root. It is an option of data=.*plug_files"),
        ("data=plug_files", "data.root needs a value"),
        ("model.width=wide", "model.width takes int, got 'wide'"),
        ("model.width=1.5", "model.width takes int, got 1.5"),
        ("model.width=true", "model.width takes int, got True"),
        ("model.width=null", "model.width takes int, got None"),
        ("model.gain=[1]", r"model.gain takes float, got \[1\]"),
        ("model.mode=exakt", "model.mode is 'exakt'. Did you mean 'exact'"),
        ("model.side=???", "model.side needs a value"),
        ("model.range=[0,b]", "model.range takes"),
        ("model.warm=soon", "model.warm takes int or float"),
        ("trainer.max_step=3", "no option trainer.max_step. Did you mean 'trainer.max_steps'"),
        ("trainr.max_steps=3", "no option trainr.max_steps. Did you mean 'trainer.max_steps'"),
        ("max_steps=3", "no option max_steps. Did you mean 'trainer.max_steps'"),
        ("trainer=gpu", "no trainer called 'gpu'"),
        ("trainer.max_time=soon", "soon"),
        ("trainer.max_steps=null", "no end: set trainer.max_steps=N or trainer.max_time"),
        ("loader.batchsize=3", "Did you mean 'loader.batch_size'"),
        ("loader=3", "loader takes"),
        ("phases.fit.optimizer.name=adm", "Did you mean 'adam'"),
        ("phases.fit.optimizer.momentum=0.9", "no option phases.fit.optimizer.momentum"),
        ("phases.fit.optimiser.lr=1", "Did you mean 'phases.fit.optimizer'"),
        ("phases.fit.loss.plug_color.weight=1", "no loss called 'plug_color'. Did you mean 'plug_colour'"),
        ("phases.fit.loss.plug_colour.wieght=1", "Did you mean 'phases.fit.loss.plug_colour.weight'"),
        ("phases.fit.loss.plug_colour.start=1.5", "plug_colour.start"),
        ("phases.fit.loss.plug_colour=[1]", "holds keys"),
        ("phases.fit=null", "phase"),
        ("scale=tiny", "no scale 'tiny'"),
        ("seed=first", "seed takes int"),
        ("logger=wandbb", "Did you mean 'wandb'"),
        ("rasterizer=warp", "model 'plug_model' has no rasterizer"),
        ("encoding=null", "model 'plug_model' needs encoding=NAME"),
        ("data.frames=${nowhere}", "data.frames cannot be resolved"),
        ("resume=/nowhere", "not a run"),
        ("trainer.minutes=1", r"no option trainer\.minutes\. Use trainer\.max_time=HH:MM:SS"),
        ("trainer.epochs=3", "counts steps, not epochs"),
        ("minutes=1", r"no option minutes\. Use trainer\.max_time="),
        ("data.root=/x", r"It is an option of data=.*plug_files"),
        ("data.rot=/x", r"Did you mean 'data\.root', an option of data=.*plug_files"),
        ("pica_ful", r"Did you mean recipe=pica_full\?"),
        ("--recipe", "written without dashes: recipe=NAME"),
        ("--recipe=pica_full", "written without dashes: recipe=pica_full"),
    ],
)
def test_a_mistake_is_named_before_anything_is_built(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load(override)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("defaults: [plug_smal]\n", "Did you mean 'plug_small'"),
        ("defaults: [plug_small\n", "cannot be read"),
        ("- 1\n", "holds a list"),
        ("model: {name: plug_model}\n", "data needs a value"),
        ("defaults: [plug_small, {override /trainer: gpu}]\n", "trainer/gpu"),
        ("defaults: [plug_small]\nmodel: {_target_: os.system}\n", "_target_"),
        ("defaults: [plug_small]\nmodel: {anything: [{deep: {_target_: os.system}}]}\n", "_target_"),
    ],
)
def test_a_bad_recipe_file_is_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load(recipe=write(tmp_path, "mine.yaml", text))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "model: {mode: '${oc.env:SECRET}'}\n",
        "model: {anything: [{deep: 'a ${oc.env:SECRET,x} b'}]}\n",
        "model: {mode: '${by_scale:exact,${oc.env:SECRET}}'}\n",
        "model: {mode: \"${by_scale:fast,'${oc.env:SECRET}'}\"}\n",
        "word: oc.env\nmodel: {mode: '${${word}:SECRET}'}\n",
        "model: {mode: '${oc.decode:3}'}\n",
        "model: {mode: '${ oc.env : SECRET }'}\n",
        "model: {anything: '${oc.create:{a: 1}}'}\n",
        "model: {anything: {'${oc.env:SECRET}': 1}}\n",
    ],
)
def test_resolvers_of_a_strangers_recipe_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    with pytest.raises(ConfigError, match=r"Recipe '.*mine(\.yaml)?': .*resolver .*Only references") as caught:
        load(recipe=write(tmp_path, "mine.yaml", "defaults: [plug_small]\n" + text))
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_resolvers_in_a_defaults_list_are_refused_before_they_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    for line in ("{override /trainer: '${oc.env:SECRET}'}", "'${oc.env:SECRET}'"):
        with pytest.raises(ConfigError, match=r"'mine': defaults\S* asks for the resolver 'oc.env'") as caught:
            load(recipe=write(tmp_path, "mine.yaml", f"defaults: [plug_small, {line}]\n"))
        assert "hunter2" not in str(caught.value)


def test_references_and_scales_are_allowed_in_a_strangers_recipe(tmp_path: Path) -> None:
    text = "defaults: [plug_small]\nseed: 7\nmodel: {width: '${seed}', side: '${by_scale:2,${model.width}}'}\n"
    recipe = write(tmp_path, "mine.yaml", text)
    assert load(recipe=recipe)["model"]["side"] == 7
    assert load("scale=small", recipe=recipe)["model"]["side"] == 2


def test_targets_are_refused_in_overrides_too() -> None:
    with pytest.raises(ConfigError, match="_target_"):
        load("model.anything={_target_: os.system}")


def test_unknown_recipes_are_named() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'plug_small'"):
        load(recipe="plug_smal")
    with pytest.raises(ConfigError, match="no recipe file"):
        load(recipe="./nowhere.yaml")
    with pytest.raises(ConfigError, match=r"Which recipe.*plug_small"):
        load(recipe=None)


def test_a_recipes_plugins_run_only_when_named(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    plugin = write(tmp_path, "stranger.py", f"open({str(marker)!r}, 'w')\n")
    recipe = write(tmp_path, "mine.yaml", f"defaults: [plug_small]\nplugins: [{plugin}]\n")
    with pytest.raises(ConfigError, match="plugins="):
        load(recipe=recipe)
    assert not marker.exists()
    assert load(f"plugins=[{plugin}]", recipe=recipe)["plugins"] == [str(PLUGIN), str(plugin)]
    assert marker.exists()


def test_a_failing_plugin_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"bad\.py failed.*ZeroDivisionError"):
        config.load("plug_small", [], [write(tmp_path, "bad.py", "1 / 0\n")])


def test_yaml_reads_back_equal_and_the_hash_names_the_experiment() -> None:
    said = ("trainer.max_time=10:00:00", "model.cameras=[400002]")
    one = load(*said)
    assert config.from_yaml(one.to_yaml()) == one.resolved
    assert len(one.hash()) == 12
    assert one.hash() == load(*said, "out=/elsewhere", "logger=wandb").hash()
    assert one.hash() != load(*said, "seed=1").hash()
    files = ["data=plug_files", "data.image_height=64"]
    here = load(*files, "data.root=/here", "loader.workers=0").hash()
    assert here == load(*files, "data.root=/there").hash() != load("data=plug_files", "data.root=/here").hash()


def test_resuming_starts_from_the_runs_config(tmp_path: Path) -> None:
    started = load("scale=small", "model.width=9", "out=/elsewhere/run")
    write(tmp_path / "run", "config.yaml", started.to_yaml())
    resumed = load(f"resume={tmp_path / 'run'}", "trainer.max_steps=99", recipe=None).resolved
    assert resumed["model"] == started["model"]
    assert resumed["recipe"] == "plug_small"
    assert resumed["resume"] == str(tmp_path / "run")
    assert resumed["trainer"]["max_steps"] == 99
    assert resumed["out"] is None, "a run that was moved goes on where it lies"
    with pytest.raises(ConfigError, match="scale"):
        load(f"resume={tmp_path / 'run'}", "scale=paper", recipe=None)
    with pytest.raises(ConfigError, match="chosen when a run starts"):
        load(f"resume={tmp_path / 'run'}", "trainer=bf16", recipe=None)
    assert load(f"resume={tmp_path / 'run'}", "recipe=plug_small", recipe=None).resolved["model"] == started["model"]
    with pytest.raises(ConfigError, match="trained with recipe=plug_small and cannot go on as recipe=pica_full"):
        load(f"resume={tmp_path / 'run'}", "recipe=pica_full", recipe=None)
    with pytest.raises(ConfigError, match="not a run"):
        load(f"resume={tmp_path}", recipe=None)
    with pytest.raises(ConfigError, match=r"plugins=\["):
        config.load(None, [f"resume={tmp_path / 'run'}"])


def test_a_checkpoints_config_can_be_overridden() -> None:
    stored = load("scale=small").resolved
    changed = config.override(stored, ["data=plug_files", "data.root=/x"])
    assert changed["data"] == {"name": "plug_files", "root": "/x", "image_height": None}
    assert changed["model"] == stored["model"]
    assert config.override(stored, []).resolved == stored
