"""Components by name: register them, find them, read their configuration off their signature.

A component is a class. In its constructor, what stands **before** ``*`` is handed over by the code that builds it
(dimensions, other modules); what stands **after** ``*`` is its configuration, with types and defaults::

    @register("encoding", "wave")
    class Wave(Encoding):
        def __init__(self, in_dim: int = 2, *, bands: int = 6): ...

Registering is all it takes: the file is found in the folder of its kind, and the signature is the schema.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import pkgutil
import sys
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any, TypeVar

from avatarzoo.errors import ConfigError, did_you_mean

T = TypeVar("T", bound=type)

#: Where the built-in components of each kind live; a folder is searched whole.
KINDS: dict[str, str] = {
    "model": "avatarzoo.models",
    "encoding": "avatarzoo.encodings",
    "driver": "avatarzoo.drivers",
    "warp": "avatarzoo.warps",
    "rasterizer": "avatarzoo.rasterizers",
    "loss": "avatarzoo.losses",
    "protocol": "avatarzoo.benchmark",
    "data": "avatarzoo.datamodules",
}


@dataclass(frozen=True)
class Option:
    """One configuration key of a component.

    Attributes:
        name: the key.
        type: its annotation, resolved.
        default: its default, or ``dataclasses.MISSING`` when it has to be given.
    """

    name: str
    type: Any
    default: Any = MISSING


_components: dict[str, dict[str, type]] = {kind: {} for kind in KINDS}
_searched: set[str] = set()
plugin_errors: dict[str, str] = {}
_plugin_files: dict[str, Path] = {}
_plugins_loaded = False


def register(kind: str, name: str) -> Callable[[T], T]:
    """Make a class available under a name.

    Args:
        kind: one of ``KINDS``.
        name: what a recipe calls it.

    Returns:
        The decorator; it returns the class unchanged.

    Raises:
        ConfigError: the kind does not exist, or the name is taken by another class.
    """
    if kind not in KINDS:
        raise ConfigError(f"There is no kind of component called {kind!r}.{did_you_mean(kind, KINDS)}")

    def keep(cls: T) -> T:
        taken = _components[kind].get(name)
        if taken is not None and (taken.__module__, taken.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ConfigError(
                f"{kind} {name!r} is already {taken.__module__}.{taken.__qualname__}; "
                f"register {cls.__module__}.{cls.__qualname__} under another name."
            )
        _components[kind][name] = cls
        cls.registered_name = name  # type: ignore[attr-defined]
        return cls

    return keep


def _search(kind: str) -> None:
    if kind in _searched:
        return
    _searched.add(kind)
    try:
        package = importlib.import_module(KINDS[kind])
    except ModuleNotFoundError as error:
        if error.name != KINDS[kind]:
            raise
        return  # a kind whose folder is not there yet
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        if not module.name.rsplit(".", 1)[1].startswith("_"):
            importlib.import_module(module.name)


def load_entry_points() -> None:
    """Import installed plug-ins (entry points in the group ``avatarzoo.plugins``).

    One that fails is kept in ``plugin_errors`` with its cause and does not stop the rest.
    """
    global _plugins_loaded
    if _plugins_loaded:
        return
    _plugins_loaded = True
    for point in importlib.metadata.entry_points(group="avatarzoo.plugins"):
        try:
            point.load()
        except (Exception, SystemExit) as error:  # a stranger's module may raise anything
            plugin_errors[point.name] = f"{type(error).__name__}: {error}"


def load_plugin_file(path: str | Path) -> None:
    """Import one Python file that registers components.

    Args:
        path: the file.

    Raises:
        ConfigError: the file does not exist or raises while it is imported.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"Plug-in {path} does not exist; plugins=[...] takes paths of Python files.")
    name = _plugin_module(path)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"Plug-in {path} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise ConfigError(f"Plug-in {path} failed while it was imported: {type(error).__name__}: {error}") from error
    _plugin_files[name] = path.resolve()


def _plugin_module(path: Path) -> str:
    """Two files of one name are two modules, so that their classes cannot replace each other."""
    return f"avatarzoo_plugin_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"


class PluginFiles:
    """Plug-in files that were loaded; unpickled in another process, it loads them there.

    It has to be pickled before instances of their classes.
    """

    def __reduce__(self) -> tuple[Callable[[tuple[str, ...]], PluginFiles], tuple[tuple[str, ...]]]:
        """Pickle as the paths of the files."""
        return _load_again, (tuple(map(str, _plugin_files.values())),)


def _load_again(paths: tuple[str, ...]) -> PluginFiles:
    for path in map(Path, paths):
        if _plugin_module(path) not in sys.modules:
            load_plugin_file(path)
    return PluginFiles()


def names(kind: str) -> list[str]:
    """Return the names registered for a kind, sorted.

    Args:
        kind: one of ``KINDS``.
    """
    if kind not in KINDS:
        raise ConfigError(f"There is no kind of component called {kind!r}.{did_you_mean(kind, KINDS)}")
    _search(kind)
    load_entry_points()
    return sorted(_components[kind])


def get(kind: str, name: str) -> Any:
    """Return the class registered under a name.

    Args:
        kind: one of ``KINDS``.
        name: a registered name.

    Raises:
        ConfigError: nothing is registered under it; the nearest names are given.
    """
    known = names(kind)
    if name not in known:
        broken = "".join(f" The plug-in {plugin} could not be loaded: {why}." for plugin, why in plugin_errors.items())
        raise ConfigError(f"There is no {kind} called {name!r}.{did_you_mean(str(name), known)}{broken}")
    return _components[kind][name]


def options(cls: type) -> dict[str, Option]:
    """Read a component's configuration keys off its constructor: the keyword-only parameters.

    Args:
        cls: a registered class.

    Returns:
        Options by name, in the order of the signature.
    """
    init = cls.__init__  # type: ignore[misc]
    try:
        hints = typing.get_type_hints(init)
    except NameError:
        hints = {}
    found = {}
    for parameter in inspect.signature(init).parameters.values():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            default = MISSING if parameter.default is inspect.Parameter.empty else parameter.default
            found[parameter.name] = Option(parameter.name, hints.get(parameter.name, Any), default)
    return found


def build(kind: str, config: str | Mapping[str, Any], *context: Any) -> Any:
    """Build a component from its configuration node.

    Args:
        kind: one of ``KINDS``.
        config: a name, or a mapping with ``name`` and options.
        context: what the class takes before ``*``.

    Returns:
        The instance; ``instance.config`` holds the resolved node (name and every option).

    Raises:
        ConfigError: unknown name, unknown or missing option.
    """
    node = {"name": config} if isinstance(config, str) else dict(config)
    if "name" not in node:
        raise ConfigError(f"A {kind} needs a name, got {node}. Known: {', '.join(names(kind))}.")
    name = node.pop("name")
    cls = get(kind, name)
    known = options(cls)
    for key in node:
        if key not in known:
            raise ConfigError(f"{kind} {name!r} has no option {key!r}.{did_you_mean(key, known)}")
    missing = [o.name for o in known.values() if o.default is MISSING and o.name not in node]
    if missing:
        raise ConfigError(f"{kind} {name!r} needs a value for {', '.join(missing)}.")
    instance = cls(*context, **node)
    resolved = {"name": name} | {k: node.get(k, o.default) for k, o in known.items()}
    object.__setattr__(instance, "config", resolved)
    return instance


def summary_line(cls: type) -> str:
    """Return the first line of a component's docstring, for ``avatarzoo list``."""
    return (inspect.getdoc(cls) or "").split("\n", 1)[0]
