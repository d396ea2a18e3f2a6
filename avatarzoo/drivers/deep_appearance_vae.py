"""The encoder of Deep Appearance Models: a variational encoder of average texture and mesh vertices to a flat code."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from avatarzoo.batch import HeadBatch
from avatarzoo.capture import CaptureSummary
from avatarzoo.drivers.base import Code, Driver
from avatarzoo.errors import ConfigError
from avatarzoo.noise import seeded_normal, seeded_uniform
from avatarzoo.registry import register
from avatarzoo.weight_norm import global_norm


@register("driver", "deep_appearance_vae")
class DeepAppearanceVAE(Driver):
    """Average texture and tracked vertices to the posterior of a flat code; its mean at test time.

    Stride-2 convolutions take the texture down to 4 x 4, a linear layer each brings texture and vertices to ``hidden``
    numbers, a last one gives mean and log-std. Texture and vertices enter as offsets from the capture's means, divided by
    its standard deviations; texels nobody saw enter as 0, the mean. Every weight has one norm (``GlobalNorm``).

    Source: facebookresearch/multiface (its encoder, and the squashing of mean and log-std); Lombardi et al. 2018.
    """

    requires = ("texture.average", "texture.coverage", "mesh.vertices")
    test_inputs = "pictures"

    def __init__(
        self,
        shape: tuple[int, ...],
        rasterizer: object = None,
        *,
        texture_channels: list[int] = [16, 16, 32, 32, 64, 64, 128, 128],  # noqa: B006 - a schema default, never changed
        hidden: int = 256,
        mean_scale: float = 0.1,
        log_std_scale: float = 0.01,
        log_std_start: float = 0.0,
        texture_unit: str = "texture_std",
        texture_dropout: float = 0.0,
    ) -> None:
        """Make the layers whose size does not depend on the capture.

        Args:
            shape: of the code; its entries are laid out flat.
            rasterizer: unused.
            texture_channels: of the stride-2 convolutions; the texture's side is 4 * 2 ** their number.
            hidden: width of what texture and vertices are brought to.
            mean_scale, log_std_scale: factors on the last layer's outputs (1 switches them off).
            log_std_start: added to the log-std (0: the posterior starts as wide as the prior).
            texture_unit: what the texture's offsets are divided by: "texture_std", or "colour_std", the spread of the mean
                texture's colours (where few, similar frames give a tiny texture std, an open mouth enters as 30 of it).
            texture_dropout: share of training samples whose texture is hidden (the mean takes its place), so that the code
                learns lids and lips from the mesh as well.
        """
        super().__init__()
        if texture_unit not in ("texture_std", "colour_std"):
            raise ConfigError(f"driver.texture_unit is 'texture_std' or 'colour_std', not {texture_unit!r}.")
        if not 0 <= texture_dropout < 1:
            raise ConfigError(f"driver.texture_dropout is a share of samples in 0..1, below 1, not {texture_dropout}.")
        self.texture_unit, self.texture_dropout = texture_unit, texture_dropout
        self.shape, self.hidden, self.texture_size = tuple(shape), hidden, 4 * 2 ** len(texture_channels)
        self.mean_scale, self.log_std_scale, self.log_std_start = mean_scale, log_std_scale, log_std_start
        layers: list[nn.Module] = []
        for inside, outside in pairwise([3, *texture_channels]):
            layers += [global_norm(nn.Conv2d(inside, outside, 4, 2, 1)), nn.LeakyReLU(0.2)]
        flat = texture_channels[-1] * 4 * 4
        self.texture = nn.Sequential(*layers, nn.Flatten(), global_norm(nn.Linear(flat, hidden)), nn.LeakyReLU(0.2))
        self.posterior = global_norm(nn.Linear(2 * hidden, 2 * math.prod(self.shape)), slope=None)

    def bind(self, summary: CaptureSummary) -> None:
        """Make the layer that reads the vertices and keep the capture's means; check the texture's side."""
        size = summary.texture_mean.shape[-1]
        if size != self.texture_size:
            count = len(self.texture) // 2 - 1
            raise ConfigError(
                f"driver 'deep_appearance_vae' with {count} texture_channels reads average textures of side "
                f"{self.texture_size}, but the capture gives {size}; set data.texture_size={self.texture_size}."
            )
        vertices = global_norm(nn.Linear(summary.vertex_mean.numel(), self.hidden))
        self.vertices = nn.Sequential(nn.Flatten(), vertices, nn.LeakyReLU(0.2))
        # all of it is in the checkpoint's summary already
        self.register_buffer("texture_mean", summary.texture_mean.clone(), persistent=False)
        self.register_buffer("vertex_mean", summary.vertex_mean.clone(), persistent=False)
        self.texture_std = summary.spread(self.texture_unit, "driver 'deep_appearance_vae'")
        self.vertex_std = summary.spread("vertex_std", "driver 'deep_appearance_vae'")

    def forward(self, batch: HeadBatch) -> Code:
        """Encode the batch (see ``Driver``)."""
        texture, mesh = batch.texture, batch.mesh
        if texture is None or mesh is None:
            raise ConfigError("driver 'deep_appearance_vae' needs texture.average and mesh.vertices in the batch.")
        weight = texture.coverage / self.texture_std  # one channel: cheaper than three
        if self.training and self.texture_dropout:
            shown = seeded_uniform(batch.meta.noise_key, weight.device) >= self.texture_dropout
            weight = weight * shown[:, None, None, None]
        picture = (texture.average - self.texture_mean).mul_(weight)
        offsets = (mesh.vertices - self.vertex_mean) / self.vertex_std
        features = torch.cat([self.texture(picture), self.vertices(offsets)], dim=1)
        with torch.autocast(features.device.type, enabled=False):  # the KL term is as exact as these
            mean, log_std = self.posterior(features.float()).chunk(2, dim=1)
        return self._code(mean * self.mean_scale, log_std * self.log_std_scale + self.log_std_start, batch.meta.noise_key)

    def _code(self, mean: Tensor, log_std: Tensor, keys: Tensor) -> Code:
        mean, log_std = mean.unflatten(1, self.shape), log_std.unflatten(1, self.shape)
        value = mean
        if self.training:
            value = mean + log_std.exp() * seeded_normal(self.shape, keys, mean.device)
        return Code(value, mean, log_std)
