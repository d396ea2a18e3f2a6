"""Cracks are found; open background, silhouettes and an open mouth are not taken for cracks."""

import torch

from avatarzoo.geometry.holes import see_through


def disc(radius, depth):
    rows, columns = torch.meshgrid(torch.arange(40), torch.arange(40), indexing="ij")
    inside = (rows - 20) ** 2 + (columns - 20) ** 2 < radius**2
    return (inside * float(depth))[None, None]


def test_a_closed_disc_has_none():
    depth = disc(15, 1000)
    assert not see_through(depth > 0, depth, depth).any()


def test_an_enclosed_empty_pixel_and_the_far_side_are_found():
    reference = disc(15, 1000)
    depth = reference.clone()
    depth[0, 0, 20, 20] = 0
    depth[0, 0, 18, 22] = 1180  # the inside of the back of the head
    found = see_through(depth > 0, depth, reference)
    assert found.nonzero().tolist() == [[0, 0, 18, 22], [0, 0, 20, 20]]


def test_silhouette_and_open_mouth_do_not_count():
    reference = disc(15, 1000)
    depth = disc(14, 1000)
    depth[0, 0, 24, 18:22] += 40
    depth[0, 0, 6, 20] = 1500  # at the rim another part may show behind
    assert not see_through(depth > 0, depth, reference).any()
