"""Distance of the decoded vertices to the tracked ones."""

from __future__ import annotations

import fixtures as fx
import numpy as np
import torch

from avatarzoo.batch import Prediction
from avatarzoo.losses.vertex import VertexLoss


def test_it_is_the_mean_square_in_units_of_the_vertex_std() -> None:
    summary, batch = fx.summary(), fx.batch()
    term = VertexLoss()
    term.bind(summary)
    torch.manual_seed(0)
    vertices = batch.mesh.vertices + torch.randn_like(batch.mesh.vertices)
    found = term(Prediction(extras={"tracked_vertices": vertices}), batch)
    for i in range(2):
        error = (vertices[i].double() - batch.mesh.vertices[i].double()).numpy() / summary.vertex_std
        np.testing.assert_allclose(float(found[i]), (error**2).sum() / error.size, rtol=1e-5)


def test_the_mouth_counts_like_all_else() -> None:
    summary, batch = fx.summary(), fx.batch((0, 0))
    term = VertexLoss()
    term.bind(summary)
    costs = set()
    for vertex in (0, 30, 80):
        vertices = batch.mesh.vertices.clone()
        vertices[0, vertex, 1] += 3
        costs.add(round(float(term(Prediction(extras={"tracked_vertices": vertices}), batch)), 6))
    assert len(costs) == 1 and costs.pop() > 0
