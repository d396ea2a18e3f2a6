"""The perceptual distance: no weights, no number; with a network, the mean of its map over the mask."""

from pathlib import Path

import pytest
import torch

from avatarzoo.errors import BackendError
from avatarzoo.metrics import lpips_distance, why_unavailable
from avatarzoo.metrics.lpips import backbone_file, load_net


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    load_net.cache_clear()
    return tmp_path


@pytest.fixture
def no_download(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a metric tried to download weights")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)


class Difference(torch.nn.Module):
    """Stands in for the network: the map of absolute differences, and the range it was given."""

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        self.seen = (min(x.min().item(), y.min().item()), max(x.max().item(), y.max().item()))
        return (x - y).abs().mean(1, keepdim=True)


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_absent_weights_give_an_error_and_never_a_number(net: str, empty_cache: Path, no_download: None) -> None:
    reason = why_unavailable(net)
    assert reason is not None and "download.pytorch.org" in reason and str(empty_cache) not in reason
    with pytest.raises(BackendError, match="TORCH_HOME"):
        lpips_distance(torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64), net=net)


def test_other_weights_under_the_right_name_are_refused(empty_cache: Path, no_download: None) -> None:
    path = backbone_file("alex")
    path.parent.mkdir(parents=True)
    torch.save({"random": torch.rand(3)}, path)
    assert "damaged" in (why_unavailable("alex") or "")
    with pytest.raises(BackendError, match="damaged"):
        load_net("alex")


def test_an_unknown_net_names_the_known_ones() -> None:
    with pytest.raises(BackendError, match="alex"):
        why_unavailable("alexx")


def test_mean_of_the_map_over_the_mask() -> None:
    generator = torch.Generator().manual_seed(0)
    image, target = torch.rand(2, 3, 40, 36, generator=generator), torch.rand(2, 3, 40, 36, generator=generator)
    mask = torch.rand(2, 1, 40, 36, generator=generator) > 0.5
    network = Difference()
    values = lpips_distance(image, target, mask, network=network)
    for i in range(2):
        inside = mask[i, 0]
        expected = 2 * (image[i] - target[i]).abs().mean(0)[inside].mean()
        assert values[i].item() == pytest.approx(expected.item(), abs=1e-6)
    assert network.seen[0] == -1.0  # black off the mask is -1 to the network


def test_pixels_off_the_mask_and_small_pictures() -> None:
    image, target = torch.rand(1, 3, 40, 40), torch.rand(1, 3, 40, 40)
    mask = torch.zeros(1, 1, 40, 40, dtype=torch.bool)
    assert lpips_distance(image, target, mask, network=Difference()).isnan().all()
    mask[..., 3:20, 3:20] = True
    spoiled = torch.where(mask, image, torch.nan)
    assert lpips_distance(spoiled, target, mask, network=Difference()).isfinite().all()
    assert lpips_distance(image[..., :20], target[..., :20], network=Difference()).isnan().all()


def test_agrees_with_the_lpips_package() -> None:
    reason = why_unavailable("alex")
    if reason:
        pytest.skip(reason)
    import lpips

    image, target = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)
    plain = lpips.LPIPS(net="alex", spatial=True, verbose=False)(image, target, normalize=True).mean((1, 2, 3))
    assert lpips_distance(image, target).tolist() == pytest.approx(plain.tolist(), abs=1e-5)
