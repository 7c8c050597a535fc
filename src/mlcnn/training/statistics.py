"""Running statistics of batch norms, measured anew on images."""

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage] - all of them

from mlcnn.training.accuracy import placed_batches
from mlcnn.training.hardware import Hardware
from mlcnn.training.images import ImageSet, Normal

__all__ = ["reestimate"]


def reestimate(
    module: nn.Module, images: ImageSet, normal: Normal, hardware: Hardware | None = None
) -> int:
    """Replace the mean and variance that each batch norm keeps by those of ``images``, in place.

    A rewrite in front of a batch norm changes what reaches it; its statistics then are those of
    another network. One pass over the images: a norm's statistics are the average over the batches,
    with every norm before it normalising by the batch. Everything else is in eval mode.

    Args:
        module: the network, on the device already; it is left in eval mode.
        images: what to measure on; some hundreds will do.
        normal: what the network takes for an image.
        hardware: where; on the processor in float32 by default.

    Returns:
        The number of batch norms; with none, nothing is done.
    """
    norms = [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]
    if not norms:
        return 0
    momenta = [norm.momentum for norm in norms]
    module.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over the batches
        norm.train()
    hardware = hardware or Hardware()
    with torch.no_grad(), hardware.autocast():
        for inputs in placed_batches(images, normal, hardware):
            module(inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    module.eval()
    return len(norms)
