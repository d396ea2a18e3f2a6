"""torchmetrics classes: equal to the functions, batch by batch and over two processes."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from avatarzoo.metrics import mse255, psnr, psnr_from_mse, spread_sums, squared_error, ssim
from avatarzoo.metrics.classes import MaskedLPIPS, MaskedMSE, MaskedPSNR, MaskedSSIM, PooledPSNR, SpreadRatio

CLASSES = (MaskedMSE, MaskedPSNR, MaskedSSIM, PooledPSNR, SpreadRatio)


def data() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return six pictures; the masks differ in size and one is empty, so that averaging orders differ."""
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(6, 3, 20, 18, generator=generator)
    image = (
        target + torch.linspace(0.01, 0.3, 6)[:, None, None, None] * torch.randn(target.shape, generator=generator)
    ).clamp(0, 1)
    mask = torch.zeros(6, 1, 20, 18, dtype=torch.bool)
    for i in range(5):
        mask[i, :, : 12 + i, : 18 - i] = True
    return image, target, mask


def expected() -> dict[str, float]:
    image, target, mask = data()
    total, count = squared_error(image, target, mask)
    spreads = []
    for picture in (image, target):
        inside = (255 * (picture[:, 0] - picture[:, 2]).double())[mask[:, 0]]
        spreads.append(inside.std(correction=0))
    return {
        "MaskedMSE": mse255(image, target, mask).nanmean().item(),
        "MaskedPSNR": psnr(image, target, mask).nanmean().item(),
        "MaskedSSIM": ssim(image, target, mask).nanmean().item(),
        "PooledPSNR": psnr_from_mse(total.sum() / count.sum()).item(),
        "SpreadRatio": (spreads[0] / spreads[1]).item(),
    }


@pytest.mark.parametrize("batches", [[6], [1, 2, 3], [1] * 6])
def test_any_division_into_batches_gives_the_functions_number(batches: list[int]) -> None:
    for cls in CLASSES:
        metric = cls()
        for image, target, mask in zip(*(part.split(batches) for part in data()), strict=True):
            metric.update(image, target, mask)
        assert metric.compute().item() == pytest.approx(expected()[cls.__name__], rel=1e-6), cls.__name__


def _worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    share = slice(0, 4) if rank == 0 else slice(4, 6)  # unequal shares, and the empty mask in the second
    found = {}
    for cls in CLASSES:
        metric = cls()
        metric.update(*(part[share] for part in data()))
        found[cls.__name__] = metric.compute().item()
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_give_the_number_of_one(tmp_path: Path) -> None:
    mp.spawn(_worker, args=(str(tmp_path),), nprocs=2)
    for rank in range(2):
        assert torch.load(tmp_path / f"{rank}.pt") == pytest.approx(expected(), rel=1e-6)


def test_half_precision_pictures() -> None:
    image, target, mask = data()
    for cls in CLASSES:
        metric, reference = cls(), cls()
        metric.update(image.half(), target.half(), mask)
        reference.update(image.half().float(), target.half().float(), mask)
        assert metric.compute().item() == pytest.approx(reference.compute().item(), rel=1e-6), cls.__name__


def test_spread_sums_are_what_the_ratio_is_made_of() -> None:
    image, target, mask = data()
    metric = SpreadRatio()
    metric.update(image, target, mask)
    assert metric.squares.item() == pytest.approx(spread_sums(image, mask).squares.sum().item())
    grey = SpreadRatio()
    grey.update(image, torch.full_like(target, 0.5), mask)
    assert grey.compute().isnan()


def test_perceptual_class_uses_the_network_it_is_given() -> None:
    class Ones(torch.nn.Module):
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return torch.ones_like(x[:, :1]) * 0.25

    metric = MaskedLPIPS(network=Ones())
    metric.update(torch.rand(2, 3, 40, 40), torch.rand(2, 3, 40, 40))
    assert metric.compute().item() == pytest.approx(0.25)
