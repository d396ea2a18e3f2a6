"""Rays through the field: some of them for training, all of them for pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from avatarzoo.batch import Group, HeadBatch, Prediction
from avatarzoo.geometry.cameras import face_to_camera, to_camera, to_clip
from avatarzoo.models.hash_blendshapes.field import Scene
from avatarzoo.models.hash_blendshapes.ray_draws import draw_rays
from avatarzoo.volume.compositing import Composite, composite, ray_weights
from avatarzoo.volume.march import distances, occupied_length
from avatarzoo.volume.occupancy import OccupancyGrid
from avatarzoo.volume.rays import Rays, pixel_grid, pixel_rays
from avatarzoo.volume.sampling import importance, midpoint_edges, stratified

if TYPE_CHECKING:
    from avatarzoo.models.hash_blendshapes.model import HashBlendshapes

ROUND = 8  #: samples of each ray that are evaluated before rays that ended are dropped


def train_rays(model: HashBlendshapes, batch: HeadBatch) -> Prediction:
    """Render a few random pixels of every image with gradients; see ``HashBlendshapes.predict``."""
    camera = batch.view.camera  # type: ignore[union-attr]
    height, width = camera.size
    images, count = batch.size, min(model.rays, height * width)
    scene = model.scene(batch)
    seen = first_surface(model, batch)
    factors = None if seen is None or model.ray_focus is None else model.ray_focus(seen.triangle).flatten(1)
    numbers = (height * width, count, model.coarse, model.fine)
    pixels, first, second = draw_rays(batch.meta.noise_key, *numbers, scene.positions.device, factors)
    grid = model.shell(scene)
    place = torch.stack([pixels % width, pixels // width], dim=-1)
    rays = pixel_rays(camera, batch.mesh.head_pose, place)  # type: ignore[union-attr]
    covered = torch.zeros(images, height * width, 1, device=pixels.device).scatter_(1, pixels[..., None], 1.0)
    behind = end_of_rays(model, seen)
    rows = rays.image * (height * width) + pixels.reshape(-1)
    total = occupied_length(rays, grid, None if behind is None else behind.reshape(-1)[rows] / rays.depth_scale)
    hit = (total > 0).nonzero()[:, 0]
    image = scene.positions.new_zeros(images * height * width, 3)
    alpha, depth = image[:, :1].clone(), image[:, :1].clone()
    extras = {"blend_weights": scene.blend[..., :-1]} if scene.blend is not None and scene.blend.shape[-1] > 1 else {}
    if len(hit):
        some, total = rays.pick(hit), total[hit]
        found, more = _sample_and_composite(model, batch, scene, grid, some, total, first[hit], second[hit])
        rows = rows[hit]
        image = image.index_copy(0, rows, found.colour)
        alpha = alpha.index_copy(0, rows, found.alpha[:, None])
        depth[rows, 0] = (found.distance * some.depth_scale).detach()
        extras |= more
    else:
        nothing = _nothing(model)
        image, alpha = image + nothing, alpha + nothing

    def picture(values: Tensor) -> Tensor:
        return values.reshape(images, height, width, -1).permute(0, 3, 1, 2)

    rendered = picture(covered)
    colour = _before(batch, picture(image), picture(alpha), rendered)
    return Prediction(image=colour, coverage=rendered, depth=picture(depth), alpha=picture(alpha), extras=extras)


def _nothing(model: HashBlendshapes) -> Tensor | float:
    """Return 0 with a gradient of 0 for all that rays see: where none meets anything, there is no other to step by.

    Several processes wait for gradients of the same parameters, whichever of them draws such rays.
    """
    seen = (p for part in (model.blendshapes, model.field) for p in part.parameters() if p.requires_grad)
    return 0.0 * sum(p.flatten()[0] for p in seen)


def _before(batch: HeadBatch, image: Tensor, alpha: Tensor, where: Tensor) -> Tensor:
    """Lay a picture over the batch's background colour, at some pixels; over black where the batch names none."""
    background = batch.view.background  # type: ignore[union-attr]
    return image if background is None else image + (1 - alpha) * where * background.to(image)[..., None, None]


def _sample_and_composite(
    model: HashBlendshapes,
    batch: HeadBatch,
    scene: Scene,
    grid: OccupancyGrid,
    rays: Rays,
    total: Tensor,
    first: Tensor,
    second: Tensor,
) -> tuple[Composite, dict[str, Tensor]]:
    view = model.field.view_of_rays(rays.directions)
    places = stratified(total, model.coarse, first)
    with torch.set_grad_enabled(model.keep_coarse and torch.is_grad_enabled()):
        density, colour, away, offset = _evaluate(model, batch, scene, grid, rays, places, view)
    edges = midpoint_edges(places, total)
    weights, _ = ray_weights(density.detach(), edges.diff(dim=1))
    finer = importance(edges, weights, model.fine, second)
    fine = _evaluate(model, batch, scene, grid, rays, finer, view)
    if model.keep_coarse:
        places, order = torch.cat([places, finer], dim=1).sort(dim=1)
        density, away = (torch.cat([a, b], 1).gather(1, order) for a, b in ((density, fine[0]), (away, fine[2])))
        colour = torch.cat([colour, fine[1]], 1).gather(1, order[..., None].expand(-1, -1, 3))
        offset = None if offset is None else torch.cat([offset, fine[3]], 1).gather(1, order)
    else:
        places, (density, colour, away, offset) = finer, fine
    seen = composite(density, colour, midpoint_edges(places, total).diff(dim=1), away)
    extras = {}
    if offset is not None:
        extras |= model.warp.penalties(batch.driving.frame)  # type: ignore[union-attr]
        per_ray = (seen.weights.detach() * offset).sum(1)
        mean = per_ray.new_zeros(batch.size).index_add(0, rays.image, per_ray)
        extras["warp_offset"] = mean / torch.bincount(rays.image, minlength=batch.size).clamp_min(1)
    return seen, extras


def _evaluate(
    model: HashBlendshapes,
    batch: HeadBatch,
    scene: Scene,
    grid: OccupancyGrid,
    rays: Rays,
    places: Tensor,
    view: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Return density N,S, colour N,S,3, distance N,S and how far the warp moved samples, mm^2 N,S or None."""
    count = places.shape[1]
    away = distances(rays, grid, places)
    points = rays.at(away).reshape(-1, 3)
    image = rays.image.repeat_interleave(count)
    offset = None
    if model.warp.is_on(model):
        with torch.autocast(points.device.type, enabled=False):  # offsets of micrometres matter
            moved = model.warp(points, batch.driving.frame[image])  # type: ignore[union-attr,index]
        offset = (moved - points).square().sum(-1).unflatten(0, places.shape)
        points = moved
    density, colour = model.field_at(scene, points, image, view.repeat_interleave(count, dim=0))
    return density.unflatten(0, places.shape), colour.unflatten(0, places.shape), away, offset


@dataclass
class FirstSurface(Group):
    """Where rays meet the tracked mesh first.

    Attributes:
        triangle: B,H,W int64, -1 where they miss it.
        depth: B,H,W mm, camera z; infinite where they miss it.
    """

    triangle: Tensor
    depth: Tensor


@torch.no_grad()
def first_surface(model: HashBlendshapes, batch: HeadBatch) -> FirstSurface | None:
    """Draw the tracked mesh; None where nothing asks for it (no ``behind_mm``, no ``ray_focus``)."""
    if model.behind is None and (model.ray_focus is None or not model.training):
        return None
    camera, mesh = batch.view.camera, batch.mesh  # type: ignore[union-attr]
    with torch.autocast(mesh.vertices.device.type, enabled=False):  # type: ignore[union-attr]
        points = to_camera(mesh.vertices.float(), *face_to_camera(camera, mesh.head_pose))  # type: ignore[union-attr]
        clip = to_clip(points, camera.K, camera.size)
    raster = model.rasterizer.rasterize(clip, model.triangles, camera.size)
    depth = model.rasterizer.interpolate(points[..., 2:].contiguous(), raster, model.triangles)[..., 0]
    triangle = raster[..., 3].long() - 1
    return FirstSurface(triangle, torch.where(triangle >= 0, depth, torch.inf))


def end_of_rays(model: HashBlendshapes, seen: FirstSurface | None) -> Tensor | None:
    """Return the camera depth at which rays may end, behind the tracked mesh's first surface: B,H,W mm.

    Infinite where a pixel's ray misses the mesh; None when the model looks at all there is (``behind_mm: null``).
    """
    return None if model.behind is None or seen is None else seen.depth + model.behind


def occupied_space(model: HashBlendshapes, scene: Scene) -> OccupancyGrid:
    """Return where a scene's rays have to be sampled: within reach of its anchors and, once there is one, in the union."""
    if bool(model.union_ready):
        return model.shell(scene, model.union_resolution) & model.union()
    return model.shell(scene)


def draw(model: HashBlendshapes, batch: HeadBatch, grid: OccupancyGrid | None = None) -> Prediction:
    """Render whole pictures, in chunks of rays, front to back with early stop.

    Args:
        model: bound.
        batch: see ``HashBlendshapes.requires``.
        grid: where to sample, one grid for all images or one each; None = ``occupied_space``.

    Returns:
        image, coverage (alpha of one half or more), depth and alpha.
    """
    camera = batch.view.camera  # type: ignore[union-attr]
    scene = model.scene(batch)
    grid = occupied_space(model, scene) if grid is None else grid
    behind = end_of_rays(model, first_surface(model, batch))
    pixels = pixel_grid(camera.size, scene.positions.device)
    images, count = batch.size, len(pixels)
    out = scene.positions.new_zeros(images * count, 5)
    for start in range(0, images * count, model.chunk):
        rows = torch.arange(start, min(start + model.chunk, images * count), device=pixels.device)
        rays = _rays_of(batch, pixels, rows)
        total = occupied_length(rays, grid, None if behind is None else behind.reshape(-1)[rows] / rays.depth_scale)
        hit = (total > 0).nonzero()[:, 0]
        if len(hit):
            out[rows[hit]] = march(model, scene, grid, rays.pick(hit), total[hit])
    picture = out.reshape(images, *camera.size, 5).permute(0, 3, 1, 2)
    alpha = picture[:, 3:4]
    covered = alpha >= 0.5
    return Prediction(
        image=_before(batch, torch.where(covered, picture[:, :3], 0.0), alpha, covered),
        coverage=covered,
        depth=torch.where(covered, picture[:, 4:], 0.0),
        alpha=alpha,
    )


def _rays_of(batch: HeadBatch, pixels: Tensor, rows: Tensor) -> Rays:
    """Cast the rays of rows image * pixels + pixel, which may span images."""
    first, last = int(rows[0]) // len(pixels), int(rows[-1]) // len(pixels)
    found = []
    for image in range(first, last + 1):
        one = batch._map(lambda t, i=image: t[i : i + 1])
        own = rows[rows // len(pixels) == image] - image * len(pixels)
        rays = pixel_rays(one.view.camera, one.mesh.head_pose, pixels[own][None])
        rays.image.fill_(image)
        found.append(rays)
    return found[0] if len(found) == 1 else Rays(*(torch.cat([getattr(r, f) for r in found]) for f in vars(found[0])))


def march(model: HashBlendshapes, scene: Scene, grid: OccupancyGrid, rays: Rays, total: Tensor) -> Tensor:
    """Composite rays front to back until no light is left or the occupied part ends.

    Returns:
        N,5: colour over black, alpha, camera depth mm.
    """
    out = total.new_zeros(len(rays), 5)
    light = torch.ones_like(total)
    alive = torch.arange(len(rays), device=total.device)
    view = model.field.view_of_rays(rays.directions)
    steps = torch.arange(ROUND, device=total.device) + 0.5
    start = 0.0
    while len(alive):
        some, length = rays.pick(alive), total[alive]
        edges = (start + torch.arange(ROUND + 1, device=total.device) * model.step)[None].minimum(length[:, None])
        delta = edges.diff(dim=1)
        away = distances(some, grid, (start + steps * model.step)[None].minimum(length[:, None]))
        valid = (delta > 0).reshape(-1).nonzero()[:, 0]
        ray = valid // ROUND
        points = some.at(away).reshape(-1, 3)[valid]
        values = model.field_at(scene, points, some.image[ray], view[alive][ray])
        density = delta.new_zeros(delta.numel()).index_put((valid,), values[0]).reshape(delta.shape)
        colour = delta.new_zeros(delta.numel(), 3).index_put((valid,), values[1]).reshape(*delta.shape, 3)
        weights, before = ray_weights(density, delta)
        weights = weights * light[alive, None]
        out[alive, :3] += (weights[..., None] * colour).sum(1)
        out[alive, 3] += weights.sum(1)
        out[alive, 4] += (weights * away).sum(1) * some.depth_scale
        light[alive] *= before[:, -1] * torch.exp(-density[:, -1] * delta[:, -1])
        start += ROUND * model.step
        alive = alive[(light[alive] > model.early_stop) & (length > start)]
    out[:, 4] /= out[:, 3].clamp_min(1e-8)
    return out
