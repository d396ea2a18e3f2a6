"""Hash-table blendshapes: anchors on the tracked mesh carry small blended tables; a tiny network makes a volume of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from avatarzoo import registry
from avatarzoo.batch import HeadBatch, Prediction
from avatarzoo.capture import CaptureSummary
from avatarzoo.errors import ConfigError
from avatarzoo.models.base import Avatar
from avatarzoo.models.hash_blendshapes.anchors import FLAME_DENSITY, Anchors
from avatarzoo.models.hash_blendshapes.blendshapes import LocalBlendshapes
from avatarzoo.models.hash_blendshapes.field import Field, Scene
from avatarzoo.models.hash_blendshapes.gather import gather
from avatarzoo.models.hash_blendshapes.neighbours import NeighbourSearch
from avatarzoo.models.hash_blendshapes.ray_draws import RayFocus
from avatarzoo.models.hash_blendshapes.tracing import draw, train_rays
from avatarzoo.registry import register
from avatarzoo.volume.march import mark_near
from avatarzoo.volume.occupancy import OccupancyGrid, box_grid, pack, unpack


@register("model", "hash_blendshapes")
class HashBlendshapes(Avatar):
    """Mesh-anchored hash table blendshapes (Bai et al., CVPR 2024): a volume avatar from one tracked video.

    The main paper's text could not be read in full; what the supplement does not say is an option here.
    """

    uses = ("encoding", "warp", "rasterizer")
    requires = ("mesh.vertices", "mesh.head_pose", "view.camera", "driving.frame?")
    finishing = "the union grid"
    test_inputs = "tracked mesh"

    def __init__(
        self,
        parts: Mapping[str, Any],
        *,
        anchors: int | None = None,
        anchor_density: float = FLAME_DENSITY,
        blendshapes: int = 5,
        feature_channels: int = 24,
        expression: str = "unet",
        displacement_input: str = "from_neutral",
        uv_size: int = 128,
        encoder: list[int] = [8, 16, 32, 64, 128, 256],  # noqa: B006 - a schema default, never changed
        decoder: list[int] = [128, 64, 64, 64, 64, 64, 64],  # noqa: B006
        weight_bias: float = 0.1,
        weight_scale: float = 0.01,
        k: int = 3,
        search: str = "clustered",
        clusters: int = 64,
        blend: str = "inverse_distance",
        box_mm: float | None = None,
        box_spacings: float = 2.5,
        reach_mm: float = 40.0,
        behind_mm: float | None = None,
        point_bands: int = 8,
        view_bands: int = 4,
        identity: bool = False,
        fused: bool = True,
        hidden: int = 64,
        density_scale: float = 0.1,
        density_bias: float = -1.0,
        view_density: bool = True,
        view_frame: str = "head",
        surface_prior: float = 0.0,
        surface_width: float = 8.0,
        rays: int = 256,
        ray_focus: dict[str, float] | None = None,
        coarse: int = 32,
        fine: int = 32,
        keep_coarse: bool = True,
        shell_cell_mm: float = 8.0,
        union_resolution: int = 128,
        union_frames: int = 200,
        union_threshold: float = 0.01,
        margin_mm: float = 15.0,
        step_mm: float = 1.5,
        early_stop: float = 1e-3,
        chunk: int = 16384,
    ) -> None:
        """Build everything that does not depend on the capture.

        Args:
            parts: configuration of encoding, warp and rasterizer (which draws the atlas once).
            anchors: number of anchors; None takes ``anchor_density`` (1,772 on FLAME's topology).
            anchor_density: per square centimetre of the neutral mesh.
            blendshapes: tables per anchor; the last has the constant weight 1.
            feature_channels: of each anchor's feature.
            expression: "unet", or "static": features that no expression changes, one blendshape.
            displacement_input: what the U-Net sees of a mesh, its displacement "from_neutral" or "from_mean".
            uv_size, encoder, decoder: of the U-Net in UV space.
            weight_bias, weight_scale: start of the predicted weights; 0 would leave tables and weights without gradient.
            k: neighbours whose look-ups are blended.
            search: "clustered", "exact" or "torch"; see ``NeighbourSearch``.
            clusters: of the clustered search.
            blend: "inverse_distance", "gaussian", "sum" or "nearest".
            box_mm: half the side of each table's box; None takes ``box_spacings``.
            box_spacings: the same in mean distances to the k-th neighbouring anchor.
            reach_mm: beyond this distance from every anchor there is nothing.
            behind_mm: rays that meet the tracked mesh end this far behind its first surface; None: they never do. What lies
                behind an opaque face is not seen, and samples there are wasted.
            point_bands, view_bands: frequency bands of tangent coordinates (in units of the box) and of view directions.
            identity: give the network the plain values beside their bands.
            fused: gather look-ups, features and bands in one Warp kernel; false takes the readable steps, one by one.
            hidden: width of its two hidden layers.
            density_scale: per mm, factor on softplus(x + density_bias).
            density_bias: see above.
            view_density: let the density read the view direction, as the text says.
            view_frame: "head", or "anchor": the view direction in the frame of each sample's nearest anchor.
            surface_prior: added to x on the anchors' tangent planes, subtracted away from them; 0 in the paper. The volume
                then starts as a shell around the tracked mesh.
            surface_width: mm from a plane at which the prior adds nothing.
            rays: per image and step, spread over the picture.
            ray_focus: how much likelier rays through regions of the surface are, e.g. {mouth: 8}; null in the paper.
            coarse, fine: samples per ray, stratified and by importance.
            keep_coarse: composite (and train) the coarse samples too; else they only say where the fine ones go.
            shell_cell_mm: cells in which space within reach of a frame's anchors is marked; rays skip the rest.
            union_resolution: cells along the longest side of the test-time occupancy grid.
            union_frames: training frames it is made from, evenly spread.
            union_threshold: density times cell size above which a cell is occupied.
            margin_mm: of the grids' box around the mean mesh, beyond reach.
            step_mm: between samples at test time, along the occupied part of a ray.
            early_stop: light left at which a ray ends, at test time.
            chunk: rays rendered at once: what memory grows with.
        """
        super().__init__()
        if not (min(rays, fine, chunk, union_frames) >= 1 and coarse >= 2 and reach_mm > 0 and step_mm > 0):
            raise ConfigError(
                "model: rays, fine, chunk, union_frames, reach_mm and step_mm are above 0, and coarse is 2 or more."
            )
        self.fused, self.behind = fused, behind_mm
        self.anchor_count, self.anchor_density = anchors, anchor_density
        self.box_mm, self.box_spacings, self.reach = box_mm, box_spacings, reach_mm
        self.rays, self.coarse, self.fine, self.keep_coarse = rays, coarse, fine, keep_coarse
        self.shell_cell, self.union_resolution, self.finishing_frames = shell_cell_mm, union_resolution, union_frames
        self.union_threshold, self.margin = union_threshold, margin_mm
        self.step, self.early_stop, self.chunk = step_mm, early_stop, chunk
        self.ray_focus = RayFocus(ray_focus) if ray_focus else None
        self.rasterizer = registry.build("rasterizer", parts["rasterizer"])
        self.warp = registry.build("warp", parts["warp"])
        self.anchors = Anchors()
        self.search = NeighbourSearch(k, search, clusters)
        self.blendshapes = LocalBlendshapes(
            parts["encoding"],
            blendshapes=blendshapes,
            features=feature_channels,
            expression=expression,
            displacement_input=displacement_input,
            uv_size=uv_size,
            encoder=encoder,
            decoder=decoder,
            weight_bias=weight_bias,
            weight_scale=weight_scale,
        )
        self.field = Field(
            self.blendshapes.table_channels,
            feature_channels,
            blend=blend,
            reach=reach_mm,
            point_bands=point_bands,
            view_bands=view_bands,
            identity=identity,
            hidden=hidden,
            density_scale=density_scale,
            density_bias=density_bias,
            view_density=view_density,
            view_frame=view_frame,
            surface_prior=surface_prior,
            surface_width=surface_width,
        )

    def bind(self, summary: CaptureSummary) -> None:
        """Choose anchors, make tables, lists of neighbours and grids."""
        template = summary.neutral_vertices.float()
        self.anchors.bind(summary, self.anchor_count, self.anchor_density)
        frames = self.anchors(template[None])
        places = frames.positions[0]
        self.search.bind(places, frames.axes[0, :, 2], self.reach)
        if self.box_mm is None:
            kth = torch.cdist(places, places).topk(self.search.k + 1, largest=False).values[:, -1]
            self.field.box = self.box_spacings * float(kth.mean())
        else:
            self.field.box = self.box_mm
        self.blendshapes.bind(summary, self.anchors, self.rasterizer)
        self.warp.bind(summary)
        if self.ray_focus is not None:
            self.ray_focus.bind(summary)
            self.without_effect = () if summary.regions else ("ray_focus",)
        self.rests = any(True for _ in self.warp.parameters())
        self.register_buffer("triangles", summary.topology.triangles.clone(), persistent=False)
        beyond = self.reach + self.margin
        low, high = summary.vertex_mean.amin(0) - beyond, summary.vertex_mean.amax(0) + beyond
        self._box = (low.float(), high.float())
        union = box_grid(low, high, self.union_resolution)
        self._union_shape = union.occupied.shape
        self.register_buffer("union_bits", pack(union.occupied))  # state: made of training frames when training ends
        self.register_buffer("union_ready", torch.zeros((), dtype=torch.bool))

    def parts(self) -> dict[str, nn.Module]:
        """Return the parts: tables, expression, field and warp; one that the recipe does without is empty."""
        shapes = self.blendshapes
        expression = shapes.unet
        if expression is None:
            expression = nn.ParameterList([shapes.static] if shapes.feature_channels else [])
        tables = shapes.grid if shapes.has_tables else nn.Module()
        return {"tables": tables, "expression": expression, "field": self.field, "warp": self.warp}

    def scene(self, batch: HeadBatch) -> Scene:
        """Return anchors, blended tables and features of a batch's meshes."""
        return self.blendshapes(batch.mesh.vertices.float(), self.anchors)  # type: ignore[union-attr]

    def predict(self, batch: HeadBatch, phase: str, carry: dict[str, Any]) -> Prediction:
        """Render some rays of every picture, with gradients.

        Returns:
            image, alpha, depth: 0 but at the pixels of those rays; coverage: those pixels; extras: blend_weights B,A,J-1,
            warp_offset B mm^2 and the warp's penalties.
        """
        if bool(self.union_ready):
            self.union_ready.fill_(False)  # the volume changes from here on
        return train_rays(self, batch)

    @torch.no_grad()
    def render(self, batch: HeadBatch) -> Prediction:
        """Render whole pictures without the warp, marching through occupied space only."""
        return draw(self, batch)

    def field_at(self, scene: Scene, points: Tensor, image: Tensor, view: Tensor) -> tuple[Tensor, Tensor]:
        """Return density N per mm and colour N,3 of points.

        Args:
            scene: of the batch.
            points: N,3 mm, warped already.
            image: N int64.
            view: of each point's ray, see ``Field.view_of_rays``.
        """
        index, distance = self.search(points, image, scene.positions)
        field, shapes = self.field, self.blendshapes
        if self.fused and scene.tables is not None and not field.identity:
            positions, axes = scene.positions.flatten(0, 1), scene.axes.flatten(0, 1)
            away = distance
            if points.requires_grad:  # the search gives none, and where a warp moves a point its weights change too
                around = positions.index_select(0, index.reshape(-1)).unflatten(0, index.shape)
                away = (points[:, None] - around).norm(dim=-1)
            weights = field.blend_weights(away)
            features = points.new_empty(len(positions), 0) if scene.features is None else scene.features
            features, nearest = gather(
                points,
                index,
                weights,
                positions,
                axes,
                scene.tables,
                features,
                shapes.grid.layout,
                field.box,
                field.point_bands,
            )
        else:
            features, nearest = field.inputs(scene, points, index, shapes.look_up)
        view = field.view_of_points(view, scene.axes.flatten(0, 1), index[:, 0])
        return field.decode(features, nearest, distance[:, 0], view)

    def shell(self, scene: Scene, resolution: int | None = None) -> OccupancyGrid:
        """Return where the frames' anchors are within reach, a grid per image."""
        low, high = self._box
        cells = resolution or max(1, round(float((high - low).max()) / self.shell_cell))
        grid = box_grid(low, high, cells, len(scene.positions), device=scene.positions.device)
        return mark_near(grid, scene.positions, self.reach)

    def union(self) -> OccupancyGrid:
        """Return the union occupancy grid over training expressions."""
        grid = box_grid(*self._box, self.union_resolution, device=self.union_bits.device)
        return OccupancyGrid(unpack(self.union_bits, self._union_shape), grid.low, grid.cell)

    @torch.no_grad()
    def finish(self, batches: Iterable[HeadBatch], frames: int) -> None:
        """Make the union occupancy grid of training frames, without the warp.

        Args:
            batches: of the training split, one picture of each frame; all are taken.
            frames: how many there are.
        """
        from avatarzoo.models.hash_blendshapes.union import union_of

        union = union_of(self, batches)
        self.union_bits.copy_(pack(union.occupied))
        self.union_ready.fill_(True)

    def set_finish_aside(self) -> None:
        """March through all that the anchors reach, as before there was a union grid."""
        self.union_ready.fill_(False)
