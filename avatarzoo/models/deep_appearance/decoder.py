"""From a flat code and a view direction to mesh vertices and a texture, both in units of the capture's spread."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from avatarzoo.weight_norm import UntiedDeconv2d, global_norm

START = 4  #: side of the texture decoder's first map


class DeepAppearanceDecoder(nn.Module):
    """The code's own features give the vertices; together with eight features of the view they grow into a texture.

    The view enters before anything spatial and never reaches the mesh.

    Source: facebookresearch/multiface, architecture "base" (untied biases) and "non" (tied).
    """

    def __init__(self, latent: int, hidden: int, view_features: int, channels: list[int], untied: bool) -> None:
        """Make what does not depend on the capture.

        Args:
            latent: entries of the code.
            hidden: width of the code's features.
            view_features: width of the view's.
            channels: of each transposed convolution but the last, which makes colours; the first map has channels[0].
            untied: biases per pixel on the transposed convolutions.
        """
        super().__init__()
        self.hidden, self.start_channels = hidden, channels[0]
        self.texture_size = START * 2 ** len([*channels, 3])
        self.view = nn.Sequential(global_norm(nn.Linear(3, view_features)), nn.LeakyReLU(0.2))
        self.code = nn.Sequential(global_norm(nn.Linear(latent, hidden)), nn.LeakyReLU(0.2))
        first = nn.Linear(view_features + hidden, channels[0] * START**2)
        self.texture_start = nn.Sequential(global_norm(first), nn.LeakyReLU(0.2))
        layers: list[nn.Module] = []
        for i, (inside, outside) in enumerate(pairwise([channels[0], *channels, 3])):
            layers += [UntiedDeconv2d(inside, outside, START * 2 ** (i + 1), untied), nn.LeakyReLU(0.2)]
        self.texture = nn.Sequential(*layers[:-1])

    def bind(self, vertices: int) -> None:
        """Make the layer that gives the vertices.

        Args:
            vertices: how many.
        """
        self.mesh = global_norm(nn.Linear(self.hidden, 3 * vertices), slope=None)

    def forward(self, code: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
        """Decode.

        Args:
            code: B,latent.
            direction: B,3 unit vectors from the head to the camera, face-centric.

        Returns:
            B,V,3 and B,3,T,T: offsets from the mean vertices and the mean texture, in units of their spread.
        """
        features = self.code(code)
        mesh = self.mesh(features).unflatten(1, (-1, 3))
        start = self.texture_start(torch.cat([self.view(direction), features], dim=1))
        return mesh, self.texture(start.unflatten(1, (self.start_channels, START, START)))
