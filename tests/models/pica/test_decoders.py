"""The map decoders: layouts, untied biases, the numbers of the paper."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from avatarzoo.errors import ConfigError
from avatarzoo.layers import UntiedConv2d
from avatarzoo.models.pica.decoders import BLOCKS, DecoderBlock, MapDecoder

GEOMETRY, EXPRESSION = (4, [32, 16, 16, 8, 3]), (7, [32, 16, 16, 8, 4])


def count(decoder: torch.nn.Module) -> int:
    return sum(p.numel() for p in decoder.parameters())


def untied(decoder: torch.nn.Module) -> list[int]:
    return [m.bias.numel() for m in decoder.modules() if isinstance(m, UntiedConv2d)]


@pytest.mark.parametrize("layout", BLOCKS)
@pytest.mark.parametrize("upsample", ["bilinear", "nearest"])
def test_each_block_doubles_the_side(layout: str, upsample: str) -> None:
    decoder = MapDecoder(5, [6, 4, 3], 8, layout, upsample)
    assert decoder(torch.randn(2, 5, 8, 8)).shape == (2, 3, 64, 64)


# the published layer sizes, with the bias sums of each placement: at output channels, or at input channels but for the last
@pytest.mark.parametrize(
    ("layout", "geometry", "expression"),
    [
        ("A", [8192, 16384, 65536, 131072, 196608], [8192, 16384, 65536, 131072, 262144]),
        ("D", [1024, 32768, 65536, 262144, 196608], [1792, 32768, 65536, 262144, 262144]),
    ],
)
@pytest.mark.parametrize("skip", ["", "+"])
def test_untied_biases(layout: str, geometry: list[int], expression: list[int], skip: str) -> None:
    assert untied(MapDecoder(*GEOMETRY, layout=layout + skip)) == geometry
    assert untied(MapDecoder(*EXPRESSION, layout=layout + skip)) == expression


@pytest.mark.parametrize(
    ("layout", "geometry", "expression"),
    [("D+", 582_648, 650_281), ("D", 581_552, 649_089), ("A+", 428_347, 494_924), ("A", 427_224, 493_696)],
)
def test_counts(layout: str, geometry: int, expression: int) -> None:
    assert count(MapDecoder(*GEOMETRY, layout=layout)) == geometry
    assert count(MapDecoder(*EXPRESSION, layout=layout)) == expression


def test_weight_norm_adds_a_gain_per_untied_channel() -> None:
    extra = count(MapDecoder(*GEOMETRY, weight_norm=True)) - count(MapDecoder(*GEOMETRY))
    assert extra == 4 + 32 + 16 + 16 + 3


def doubled(x: torch.Tensor, mode: str) -> torch.Tensor:
    """Upsample by two, written out: the value at a new pixel's centre between the old centres."""
    if mode == "nearest":
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    side = x.shape[-1]
    centres = ((torch.arange(2 * side) + 0.5) / 2 - 0.5).clamp(0, side - 1)
    low = centres.floor().long().clamp(max=side - 2)
    share = centres - low
    matrix = torch.zeros(2 * side, side)
    matrix[torch.arange(2 * side), low] = 1 - share
    matrix[torch.arange(2 * side), low + 1] = share
    return torch.einsum("ij,bcjk,lk->bcil", matrix, x, matrix)


@pytest.mark.parametrize("layout", BLOCKS)
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_a_block_is_its_layout(layout: str, mode: str) -> None:
    torch.manual_seed(0)
    block = DecoderBlock(5, 3, 8, layout, mode, False)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(2, 5, 4, 4)
    up = doubled(x, mode)
    w = dict(block.named_parameters())
    y = F.conv2d(up, w["first.conv.weight"], padding=1) + w["first.bias"]
    if layout.startswith("D"):
        y = torch.where(y > 0, y, 0.2 * y)
        y = F.conv2d(y, w["second.weight"], w["second.bias"], padding=1)
    if layout.endswith("+"):
        y = y + torch.einsum("oi,bihw->bohw", w["skip.weight"][:, :, 0, 0], up) + w["skip.bias"][:, None, None]
    torch.testing.assert_close(block(x), torch.where(y > 0, y, 0.2 * y), atol=1e-3, rtol=1e-4)
    assert set(w) == {
        "first.conv.weight",
        "first.bias",
        *(("second.weight", "second.bias") if layout.startswith("D") else ()),
        *(("skip.weight", "skip.bias") if layout.endswith("+") else ()),
    }


@pytest.mark.parametrize("layout", BLOCKS)
def test_the_last_block_is_one_untied_convolution_without_activation(layout: str) -> None:
    torch.manual_seed(0)
    decoder = MapDecoder(3, [4, 2], 4, layout)
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(1, 3, 4, 4)
    up = doubled(decoder.blocks(x), "bilinear")
    y = F.conv2d(up, decoder.last.conv.weight, padding=1) + decoder.last.bias
    if layout == "A+":
        y = y + F.conv2d(up, decoder.last_skip.weight, decoder.last_skip.bias)
    found = decoder(x)
    torch.testing.assert_close(found, y, atol=1e-3, rtol=1e-4)
    assert (found < 0).float().mean() > 0.2


def test_a_zero_code_decodes_to_zero_at_the_start() -> None:
    for layout in BLOCKS:  # all biases start at 0: the mean face is learned in them
        assert (MapDecoder(*GEOMETRY, layout=layout)(torch.zeros(1, 4, 8, 8)) == 0).all()


def test_unknown_options_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"model.block is one of D\+, D, A\+, A, not 'C'"):
        MapDecoder(4, [8, 3], layout="C")
    with pytest.raises(ConfigError, match="'bilinear' or 'nearest', not 'cubic'"):
        MapDecoder(4, [8, 3], upsample="cubic")
