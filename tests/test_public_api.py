"""What others build on does not disappear: modules, names and parameters of the contracts, and the verbs.

`python tests/test_public_api.py` writes the list anew; a line that goes away is a breaking change, for the changelog.
"""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import pytest

LIST = Path(__file__).with_name("public_api.txt")
MODULES = (
    *("avatarzoo.batch", "avatarzoo.build", "avatarzoo.capture", "avatarzoo.checkpoint", "avatarzoo.cli"),
    *("avatarzoo.config", "avatarzoo.errors", "avatarzoo.noise", "avatarzoo.registry", "avatarzoo.models.base"),
    *("avatarzoo.encodings.base", "avatarzoo.drivers.base", "avatarzoo.losses.base", "avatarzoo.rasterizers.base"),
    *("avatarzoo.datamodules.base", "avatarzoo.geometry.cameras", "avatarzoo.metrics", "avatarzoo.fit"),
    *("avatarzoo.benchmark.protocol", "avatarzoo.benchmark.record", "avatarzoo.benchmark.score"),
)


def describe(name: str, value: object) -> str:
    """Return a name with its parameters; "=" marks those that may be left out."""
    try:
        parameters = inspect.signature(value).parameters.values() if callable(value) else ()  # type: ignore[arg-type]
    except (TypeError, ValueError):
        parameters = ()
    words = [
        f"{p.name}=" if p.default is not p.empty or p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL) else p.name
        for p in parameters
    ]
    return f"{name}({', '.join(words)})" if callable(value) else name


def current() -> dict[str, str]:
    """Return every public name of the modules with its line."""
    found = {}
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        for name, value in vars(module).items():
            own = getattr(value, "__module__", module_name).startswith(module_name)
            if name.startswith("_") or inspect.ismodule(value) or not (own or name in getattr(module, "__all__", ())):
                continue
            if not callable(value) and not name.isupper():
                continue
            path = f"{module_name}.{name}"
            found[path] = describe(path, value)
            if inspect.isclass(value):
                for inner, method in vars(value).items():
                    if not inner.startswith("_") and inspect.isfunction(method):
                        found[f"{path}.{inner}"] = describe(f"{path}.{inner}", method)
    from avatarzoo.cli import VERBS

    return found | {f"verb {verb}": f"verb {verb}" for verb in VERBS}


def problems(frozen: list[str], found: dict[str, str]) -> list[str]:
    """Return what a caller of the frozen names would trip over."""
    wrong = []
    for line in frozen:
        name, bracket, rest = line.partition("(")
        if name not in found:
            wrong.append(f"{name} is gone")
            continue
        before = [p for p in rest.rstrip(")").split(", ") if p]
        after = [p for p in found[name].partition("(")[2].rstrip(")").split(", ") if p]
        gone = [p for p in before if p.rstrip("=") not in [q.rstrip("=") for q in after]]
        asked = [p for p in after if not p.endswith("=") and p not in before]
        order = [p.rstrip("=") for p in after if p.rstrip("=") in [q.rstrip("=") for q in before]]
        moved = bool(bracket) and order != [p.rstrip("=") for p in before] and not gone
        wrong += [f"{name} lost {', '.join(gone)}"] if gone else []
        wrong += [f"{name} now demands {', '.join(asked)}"] if asked else []
        wrong += [f"{name} has its parameters in another order"] if moved else []
    return wrong


def test_nothing_public_disappeared_or_changed_its_parameters() -> None:
    assert problems(LIST.read_text(encoding="utf-8").splitlines(), current()) == []


def test_the_list_is_not_empty_and_names_the_contracts() -> None:
    names = {line.partition("(")[0] for line in LIST.read_text(encoding="utf-8").splitlines()}
    assert len(names) > 100
    assert {
        "avatarzoo.registry.register",
        "avatarzoo.models.base.Avatar.render",
        "avatarzoo.fit.fit",
        "verb bench",
    } <= names


@pytest.mark.parametrize(
    ("now", "told"),
    [
        ({}, ["m.f is gone"]),
        ({"m.f": "m.f(a)"}, ["m.f lost b="]),
        ({"m.f": "m.f(a, c, b=)"}, ["m.f now demands c"]),
        ({"m.f": "m.f(b=, a)"}, ["m.f has its parameters in another order"]),
        ({"m.f": "m.f(a, b)"}, ["m.f now demands b"]),
        ({"m.f": "m.f(a, b=, c=)"}, []),
    ],
)
def test_the_check_sees_what_breaks_a_caller(now: dict[str, str], told: list[str]) -> None:
    assert problems(["m.f(a, b=)"], now) == told


if __name__ == "__main__":
    LIST.write_text("\n".join(sorted(current().values())) + "\n", encoding="utf-8")
