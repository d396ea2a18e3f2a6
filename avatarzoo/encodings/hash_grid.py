"""Multiresolution hash grids: one, or many small ones of which every point names its own."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from avatarzoo.encodings import _hash_tinycudann, _hash_torch, _hash_warp
from avatarzoo.encodings._hash_layout import make_layout
from avatarzoo.encodings.base import Encoding
from avatarzoo.errors import BackendError, ConfigError, did_you_mean
from avatarzoo.registry import register
from avatarzoo.warp_runtime import why_unavailable

BACKENDS = {
    "warp": _hash_warp.encode,
    "torch": _hash_torch.encode,
    "tinycudann": _hash_tinycudann.encode,
}
#: each says why its backend cannot be used here; asked one by one, because Warp takes a second to start
REASONS = {
    "warp": lambda: why_unavailable(),
    "torch": lambda: None,
    "tinycudann": lambda: _hash_tinycudann.why_unavailable(),
}


@register("encoding", "hash_grid")
class HashGrid(Encoding):
    """Features on grids of rising resolution, vertices of fine grids hashed into a table (tiny-cuda-nn's semantics).

    At each level the features of the 4 or 8 vertices around a point are interpolated; the levels' features stand side by
    side, coarsest first. Coordinates outside 0..1 are clamped. The parameters, ``values`` (tables, entries, channels), lie
    as tiny-cuda-nn keeps them, whatever the backend, so that a checkpoint moves between backends.

    Source: Müller et al., Instant Neural Graphics Primitives, 2022.
    """

    def __init__(
        self,
        in_dim: int = 3,
        *,
        levels: int = 16,
        channels: int = 2,
        log2_table_size: int = 19,
        coarsest: int = 16,
        finest: int = 2048,
        growth: float | None = None,
        tables: int = 1,
        init_scale: float = 1e-4,
        backend: str = "warp",
    ) -> None:
        """Make the tables.

        Args:
            in_dim: number of coordinates, 2 or 3.
            levels: number of grids.
            channels: features per vertex and level.
            log2_table_size: a level holds at most 2^this entries.
            coarsest, finest: resolution of the first and the last level.
            growth: of the resolution from one level to the next; when given, ``finest`` is not used.
            tables: number of grids of this kind; with more than one, every point comes with the id of its own.
            init_scale: entries start uniform in [-init_scale, init_scale].
            backend: "warp" (CPU, CUDA), "torch" (the readable twin) or "tinycudann" (CUDA, installed separately).

        Raises:
            ConfigError: options that do not fit.
            BackendError: the backend does not work here.
        """
        super().__init__()
        if in_dim not in (2, 3):
            raise ConfigError(f"encoding 'hash_grid' encodes 2 or 3 coordinates, not {in_dim}.")
        if min(levels, channels, coarsest, tables) < 1 or not 0 <= log2_table_size <= 30:
            raise ConfigError(
                "encoding 'hash_grid' needs levels, channels, coarsest and tables of at least 1 and log2_table_size from 0 "
                f"to 30, got {levels}, {channels}, {coarsest}, {tables} and {log2_table_size}."
            )
        if growth is None and finest < coarsest:
            raise ConfigError(f"encoding.finest={finest} is below encoding.coarsest={coarsest}.")
        if growth is not None and growth < 1:
            raise ConfigError(f"encoding.growth is at least 1, not {growth}.")
        if backend not in BACKENDS:
            raise ConfigError(f"There is no encoding.backend called {backend!r}.{did_you_mean(backend, BACKENDS)}")
        reason = REASONS[backend]()
        if reason:
            raise BackendError(f"encoding.backend={backend} cannot be used: {reason}")
        if growth is None:
            growth = (finest / coarsest) ** (1 / max(1, levels - 1))
        self.layout = make_layout(in_dim, levels, log2_table_size, coarsest, growth)
        if backend == "tinycudann":
            _hash_tinycudann.check(self.layout, channels, tables, log2_table_size, coarsest, growth)
        self.in_dim, self.out_dim, self.backend = in_dim, levels * channels, backend
        self.values = nn.Parameter(torch.empty(tables, self.layout.entries, channels).uniform_(-init_scale, init_scale))

    @classmethod
    def backends(cls) -> dict[str, str | None]:
        """Return the backends by name, with None, or a sentence saying why it cannot be used here and how to get it."""
        return {name: reason() for name, reason in REASONS.items()}

    def forward(self, points: Tensor, table: Tensor | None = None) -> Tensor:
        """Encode points.

        Args:
            points: N,in_dim float32; clamped to 0..1.
            table: N int64 table of each point; None is allowed where there is one table.

        Returns:
            N,out_dim in the dtype of the parameters; differentiable once (``backend=torch``: as often as one likes) with
            respect to parameters and points.

        Raises:
            ValueError: shapes, or ids of tables, that do not fit.
        """
        return self.look_up(points, self.values, table)

    def look_up(self, points: Tensor, values: Tensor, table: Tensor | None = None) -> Tensor:
        """Encode points with other entries than the module's own, e.g. tables blended for a frame.

        Interpolation is linear in the entries: looking up a weighted sum of tables equals the weighted sum of lookups.

        Args:
            points: N,in_dim float32; clamped to 0..1.
            values: T,entries,C of any T and C, laid out like ``self.values``.
            table: N int64 table of each point; None is allowed where T is 1.

        Returns:
            N,levels*C in the dtype of the values, level by level.

        Raises:
            ValueError: shapes, or ids of tables, that do not fit. On CUDA, ids are not read on the host: the features of a
                point without table are NaN with ``backend=warp``.
        """
        self._check(points, values, table)
        # half-precision coordinates would miss by cells, and half-precision sums lose what small entries say
        real = torch.float64 if values.dtype == torch.float64 else torch.float32
        ids = None if table is None or len(values) == 1 else table.long()
        with torch.autocast(points.device.type, enabled=False):
            features = BACKENDS[self.backend](points.to(real).clamp(0, 1), values.to(real), self.layout, ids)
        return features.to(values.dtype)

    def _check(self, points: Tensor, values: Tensor, table: Tensor | None) -> None:
        if points.ndim != 2 or points.shape[1] != self.in_dim:
            raise ValueError(f"hash_grid encodes N,{self.in_dim} points, got {tuple(points.shape)}.")
        if values.ndim != 3 or values.shape[1] != self.layout.entries:
            raise ValueError(f"hash_grid reads T,{self.layout.entries},C values, got {tuple(values.shape)}.")
        if table is None:
            if len(values) != 1:
                raise ValueError(f"hash_grid holds {len(values)} tables; every point needs the id of its own.")
            return
        if table.shape != points.shape[:1] or table.is_floating_point():
            raise ValueError(f"Ids of tables are {len(points)} integers, got {tuple(table.shape)} {table.dtype}.")
        if table.device.type == "cpu" and len(table) and not 0 <= int(table.min()) <= int(table.max()) < len(values):
            raise ValueError(f"Ids of tables lie in 0..{len(values) - 1}, got {int(table.min())}..{int(table.max())}.")

    def extra_repr(self) -> str:
        """Say what prints beside the name."""
        first, last = self.layout.levels[0], self.layout.levels[-1]
        tables, _, channels = self.values.shape
        return (
            f"backend={self.backend}, tables={tables}, levels={len(self.layout.levels)}, channels={channels}, "
            f"resolutions {first.resolution}..{last.resolution}"
        )
