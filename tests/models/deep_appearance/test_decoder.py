"""From code and view to vertices and texture, layer by layer."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from avatarzoo.models.deep_appearance.decoder import DeepAppearanceDecoder


def decoder(untied: bool = True) -> DeepAppearanceDecoder:
    torch.manual_seed(0)
    made = DeepAppearanceDecoder(6, 10, 8, [12, 5], untied)
    made.bind(7)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return made


def test_the_layers_are_the_released_ones() -> None:
    made, code = decoder(), torch.randn(2, 6)
    direction = F.normalize(torch.randn(2, 3), dim=1)

    def linear(x: torch.Tensor, layer: torch.nn.Module) -> torch.Tensor:
        return x @ layer.weight.T + layer.bias

    features = F.leaky_relu(linear(code, made.code[0]), 0.2)
    view = F.leaky_relu(linear(direction, made.view[0]), 0.2)
    x = F.leaky_relu(linear(torch.cat([view, features], 1), made.texture_start[0]), 0.2).view(2, 12, 4, 4)
    for i, side in ((0, 8), (2, 16), (4, 32)):
        layer = made.texture[i]
        x = F.conv_transpose2d(x, layer.conv.weight, layer.conv.bias, 2, 1) + layer.bias
        assert x.shape[2:] == (side, side)
        x = F.leaky_relu(x, 0.2) if i < 4 else x
    vertices, texture = made(code, direction)
    torch.testing.assert_close(vertices, linear(features, made.mesh).view(2, 7, 3))
    torch.testing.assert_close(texture, x)
    assert len(made.texture) == 5 and texture.shape == (2, 3, made.texture_size, made.texture_size)


def test_the_view_enters_the_texture_and_not_the_mesh() -> None:
    made, code = decoder(), torch.randn(1, 6).expand(2, -1)
    vertices, texture = made(code, torch.tensor([[0.0, 0, 1], [1, 0, 0]]))
    torch.testing.assert_close(vertices[0], vertices[1])
    assert not torch.allclose(texture[0], texture[1])


def test_a_bias_per_texel_tells_texels_apart_that_one_per_channel_does_not() -> None:
    for untied in (True, False):
        made = DeepAppearanceDecoder(6, 10, 8, [12, 5], untied)
        made.bind(7)
        with torch.no_grad():
            for name, parameter in made.named_parameters():
                if name.endswith("gain"):
                    parameter.zero_()
                elif name == "texture.4.bias":
                    parameter.normal_()
        texture = made(torch.randn(1, 6), torch.tensor([[0.0, 0, 1]]))[1]
        assert (texture.std((2, 3)).max() > 0.5) == untied
