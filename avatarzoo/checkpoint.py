"""Load a checkpoint: the file alone gives the model, ready to render."""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from avatarzoo import registry
from avatarzoo.build import build_model
from avatarzoo.capture import CaptureSummary
from avatarzoo.config import from_yaml
from avatarzoo.errors import ConfigError, near_path
from avatarzoo.models.base import Model

PREFIX = "model."
#: A snapshot's file name without its ending: minutes of training; other names are files of the user's own.
SNAPSHOT = re.compile(r"snapshot_(\d{5,}\.\d\d)")


@dataclass
class Loaded:
    """What a checkpoint holds.

    Attributes:
        model: bound, with its weights, in evaluation mode, on the device asked for.
        config: resolved config of the run.
        summary: of the capture it was trained on.
        iteration: steps completed.
        version: of AvatarZoo that wrote it.
        path: of the file.
        sha256: of the bytes that were loaded; the file may be another by now, where training goes on.
    """

    model: Model
    config: dict[str, Any]
    summary: CaptureSummary
    iteration: int
    version: str
    path: Path
    sha256: str = ""


def find(path: str | Path) -> Path:
    """Return the checkpoint a path means: the file itself, or the last one of a run's folder.

    Args:
        path: of a file or of a run.

    Raises:
        ConfigError: there is none.
    """
    path = Path(path)
    candidates = [path, path / "checkpoints" / "last.ckpt", path / "last.ckpt"]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    if not path.exists():
        raise ConfigError(f"There is no checkpoint or run at {path}.{near_path(path)}{_newest_runs()}")
    raise ConfigError(f"{path} holds no checkpoints/last.ckpt: the run saved nothing yet, or this is not a run's folder.")


def snapshot_path(folder: Path, minutes: float) -> Path:
    """Return where a snapshot lies.

    Args:
        folder: of the run's checkpoints.
        minutes: of training when it is taken; the name keeps hundredths.
    """
    return folder / f"snapshot_{minutes:08.2f}.ckpt"


def snapshots(folder: Path) -> dict[Path, float]:
    """Return the minutes at which snapshots were taken, by file and in order.

    Args:
        folder: of a run's checkpoints; it may be absent.
    """
    found = {path: SNAPSHOT.fullmatch(path.stem) for path in folder.glob("snapshot_*.ckpt")}
    minutes = {path: float(match[1]) for path, match in found.items() if match}
    return dict(sorted(minutes.items(), key=lambda one: one[1]))


def _newest_runs(count: int = 3) -> str:
    """Return a sentence with the newest runs below runs/ that have a checkpoint."""
    files = sorted(Path("runs").glob("*/*/checkpoints/last.ckpt"), key=lambda f: f.stat().st_mtime, reverse=True)
    runs = [str(file.parent.parent) for file in files[:count]]
    return f" The newest runs here: {', '.join(runs)}." if runs else ""


def read(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint file without running any code of it.

    Args:
        path: of a file or of a run.

    Returns:
        The checkpoint; its "avatarzoo" entry holds config (YAML text), summary, iteration, version, plugins.

    Raises:
        ConfigError: unreadable, or not written by AvatarZoo.
    """
    return _read(find(path))[0]


def _read(path: Path, hashed: bool = False) -> tuple[dict[str, Any], str]:
    """Return a checkpoint and, where asked for, the sha256 of the very bytes it was read from."""
    try:
        with open(path, "rb") as file:  # the same file to its end, though training puts another in its place meanwhile
            digest = hashlib.file_digest(file, "sha256").hexdigest() if hashed else ""
            file.seek(0)
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever bytes make the unpickler raise, they are no checkpoint
        raise ConfigError(f"{path} is no readable checkpoint: {_why_unreadable(path, error)}") from error
    if not isinstance(content, dict) or "avatarzoo" not in content:
        raise ConfigError(f"{path} is not a checkpoint of AvatarZoo: it has no entry 'avatarzoo'.")
    return content, digest


def _why_unreadable(path: Path, error: Exception) -> str:
    """Say what is wrong with a file and what to do; what PyTorch says of it is for AVATARZOO_DEBUG."""
    if isinstance(error, PermissionError):
        return "you may not read it."
    try:
        with zipfile.ZipFile(path) as archive:
            whole = archive.testzip() is None
    except Exception:  # damage shows in many ways
        whole = False
    if whole:
        return "it holds more than tensors and plain values, so reading it could run code. AvatarZoo wrote no such file."
    config = path.parent.parent / "config.yaml"
    recipe = yaml.safe_load(config.read_text(encoding="utf-8")).get("recipe") if config.is_file() else None
    size = f"{path.stat().st_size / 1e6:.1f} MB"
    return f"damaged or cut short ({size}). Restore it, or start again with avatarzoo fit recipe={recipe or 'NAME'}."


def read_config(path: str | Path) -> dict[str, Any]:
    """Return the resolved config of a checkpoint or a run.

    Args:
        path: of a file or of a run.
    """
    return from_yaml(read(path)["avatarzoo"]["config"])


def to_yaml(config: Mapping[str, Any]) -> str:
    """Write a resolved config as YAML text that ``yaml.safe_load`` reads back equal.

    Args:
        config: plain containers; tuples become lists, paths text.
    """
    return yaml.safe_dump(plain(config), sort_keys=False, allow_unicode=True)


def plain(value: Any) -> Any:
    """Return a config as YAML can hold it: mappings, lists, numbers and text."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value


def load(path: str | Path, plugins: Sequence[str | Path] = (), device: str | torch.device = "cpu") -> Loaded:
    """Load a checkpoint: build from its config, bind to its summary, load its weights.

    Args:
        path: of a file or of a run.
        plugins: Python files that register components the checkpoint was made with; never run unasked.
        device: where the model goes.

    Returns:
        The model in evaluation mode, with its config and summary.

    Raises:
        ConfigError: no or not a checkpoint, a plug-in that is missing, or weights that do not fit.
    """
    path = find(path)
    content, digest = _read(path, hashed=True)
    record = content["avatarzoo"]
    for plugin in plugins:
        registry.load_plugin_file(plugin)
    config = from_yaml(record["config"])
    summary = CaptureSummary.from_plain(record["summary"])
    try:
        model = build_model(config, summary)
    except ConfigError as error:
        if record.get("plugins"):
            files = ", ".join(record["plugins"])
            raise ConfigError(f"{error} {path} was made with the plug-in {files}; pass plugins=[{files}].") from error
        raise
    weights = {k[len(PREFIX) :]: v for k, v in content["state_dict"].items() if k.startswith(PREFIX)}
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ConfigError(f"The weights in {path} do not fit the model built from its config: {error}") from error
    model.progress = 1.0
    model.eval().to(device)
    return Loaded(model, config, summary, int(record["iteration"]), str(record["version"]), path, digest)
