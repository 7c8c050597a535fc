"""First weights of a network that is trained from scratch."""

import torch
from torch import nn

__all__ = ["initialise"]

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def initialise(module: nn.Module, seed: int) -> None:
    """Set every weight at random, in place, whatever it was.

    Convolutions: normal, with standard deviation sqrt(2 / inputs) [He 2015]. Dense layers:
    sqrt(1 / (3 inputs)), torch's own, so that the first logits are small. Biases are zero, norms
    the identity; torch's global random state plays no part.

    Args:
        module: the network.
        seed: the same seed gives the same weights, layer by layer, in order.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, (*_CONVOLUTIONS, nn.Linear)):
                gain = 2 if isinstance(layer, _CONVOLUTIONS) else 1 / 3
                std = (gain / layer.weight[0].numel()) ** 0.5
                layer.weight.normal_(0, std, generator=generator)
                if layer.bias is not None:  # pyright: ignore[reportUnnecessaryComparison]
                    layer.bias.zero_()
            elif isinstance(layer, _NORMS):
                layer.reset_parameters()
