"""Learned perceptual distance (Zhang, Isola, Efros, Shechtman, Wang, CVPR 2018) over masks; real weights or no number.

The linear layers come with the ``lpips`` package (version 0.1). The backbones are torchvision's, files that have to be on
disk: nothing is downloaded here, and a network with other than the published weights never gives a number.
"""

from __future__ import annotations

import functools
import hashlib
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from avatarzoo.errors import BackendError, did_you_mean
from avatarzoo.metrics.error import check_pictures

#: Metric ids and the backbone each uses.
NETS = {"lpips_alex": "alex", "lpips_vgg": "vgg"}
#: Pictures with a shorter side than this are too small for the deepest features.
SMALLEST_SIDE = 32


def _backbone_url(net: str) -> str:
    import torchvision.models as zoo  # heavy, and only needed once a distance is asked for

    weights = {"alex": zoo.AlexNet_Weights.IMAGENET1K_V1, "vgg": zoo.VGG16_Weights.IMAGENET1K_V1}
    if net not in weights:
        raise BackendError(f"There is no LPIPS net called {net!r}.{did_you_mean(net, weights)}")
    return weights[net].url


def backbone_file(net: str) -> Path:
    """Return where the weights of a backbone are expected (they need not be there).

    Args:
        net: "alex" or "vgg".
    """
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(_backbone_url(net)).name


def why_unavailable(net: str) -> str | None:
    """Return None when the distance can be computed here, else a sentence saying why not and what to do.

    Args:
        net: "alex" or "vgg".
    """
    path = backbone_file(net)
    if not path.is_file():
        return f"LPIPS ({net}) needs {_backbone_url(net)} in the folder checkpoints of TORCH_HOME/hub, where it is absent."
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    expected = path.stem.rsplit("-", 1)[1]  # torchvision writes the first 8 digits into the file's name
    if not digest.startswith(expected):
        return f"LPIPS ({net}): {path.name} is damaged (sha256 {digest[:8]}, expected {expected}); download it again."
    try:
        import lpips  # noqa: F401
    except ImportError as error:
        return f"LPIPS ({net}) needs the lpips package, which cannot be imported: {error}."
    return None


@functools.cache
def load_net(net: str, device: str = "cpu") -> nn.Module:
    """Return the distance network with its published weights, frozen, giving a map of distances.

    Args:
        net: "alex" or "vgg".
        device: where to put it.

    Raises:
        BackendError: the weights are absent or damaged.
    """
    why = why_unavailable(net)
    if why:
        raise BackendError(why)
    import lpips

    with warnings.catch_warnings():  # the package speaks torchvision's old dialect
        warnings.simplefilter("ignore")
        network = lpips.LPIPS(net=net, version="0.1", spatial=True, verbose=False)
    return network.eval().requires_grad_(False).to(device)


@torch.no_grad()
def lpips_distance(
    image: Tensor, target: Tensor, mask: Tensor | None = None, net: str = "alex", network: nn.Module | None = None
) -> Tensor:
    """Compute the perceptual distance of each image: the mean over masked pixels of the map of distances.

    Both pictures are made black off the mask, brought to -1..1 and seen whole; the distances of all layers are resized to
    the picture and added, as the ``lpips`` package does with ``spatial=True``.

    Args:
        image, target: B,3,H,W float in 0..1.
        mask: B,1,H,W; None means every pixel.
        net: "alex" or "vgg".
        network: takes two pictures in -1..1 and returns B,1,H,W; defaults to ``load_net(net)``.

    Returns:
        B float32; NaN where the mask is empty or the picture's shorter side is under 32 pixels.

    Raises:
        BackendError: the weights are absent or damaged.
    """
    mask = check_pictures(image, target, mask)
    if network is None:
        network = load_net(net, str(image.device))
    if min(image.shape[2:]) < SMALLEST_SIDE:
        return torch.full((image.shape[0],), torch.nan, device=image.device)
    x, y = (2 * torch.where(mask, p.float(), 0.0) - 1 for p in (image, target))
    with torch.autocast(image.device.type, enabled=False):
        distances = network(x, y)
    return (distances * mask).sum(dim=(1, 2, 3)) / mask.sum(dim=(1, 2, 3))
