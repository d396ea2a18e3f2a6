"""A plug-in file with one component of each kind the config's tests need; its recipes lie in the folder beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from avatarzoo.registry import register


@register("model", "plug_model")
class PlugModel:
    """A model made of a wave and nothing else."""

    uses = ("encoding",)

    def __init__(
        self,
        parts: Any,
        *,
        side: int,
        width: int = 8,
        gain: float = 1.0,
        mode: Literal["fast", "exact"] = "fast",
        range: tuple[float, float] = (0.0, 1.0),
        cameras: list[str] | str | None = None,
        warm: int | float = 0,
        anything: Any = None,
    ) -> None: ...


@register("encoding", "plug_wave")
class PlugWave:
    """Waves."""

    def __init__(self, in_dim: int = 2, *, bands: int = 6) -> None: ...


@register("encoding", "plug_grid")
class PlugGrid:
    """A grid."""

    def __init__(self, in_dim: int = 2, *, levels: int = 4, table: Path | None = None) -> None: ...


@register("data", "plug_files")
class PlugFiles:
    """Files somewhere."""

    def __init__(self, *, root: str, image_height: int | None = None) -> None: ...


@register("data", "plug_noise")
class PlugNoise:
    """Noise."""

    def __init__(self, *, frames: int = 3) -> None: ...


@register("loss", "plug_colour")
class PlugColour:
    """Colour difference."""

    def __init__(self, *, squared: bool = True) -> None: ...
