"""First weights of a network that is trained from scratch."""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

__all__ = ["Fanned", "initialise"]


@runtime_checkable
class Fanned(Protocol):
    """A layer of a method: its weight's shape does not tell how many products an output has."""

    weight: nn.Parameter
    bias: nn.Parameter | None

    @property
    def fan_in(self) -> int:
        """Products of an output."""
        ...

    @property
    def convolves(self) -> bool:
        """Whether it is a convolution, not a dense layer."""
        ...


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
            if isinstance(layer, Fanned):
                _draw(layer.weight, layer.bias, layer.fan_in, layer.convolves, generator)
            elif isinstance(layer, (*_CONVOLUTIONS, nn.Linear)):
                inputs, convolves = layer.weight[0].numel(), isinstance(layer, _CONVOLUTIONS)
                _draw(layer.weight, layer.bias, inputs, convolves, generator)
            elif isinstance(layer, _NORMS):
                layer.reset_parameters()


def _draw(
    weight: Tensor,
    bias: Tensor | None,
    inputs: int,
    convolves: bool,
    generator: torch.Generator,
) -> None:
    gain = 2 if convolves else 1 / 3
    weight.normal_(0, (gain / inputs) ** 0.5, generator=generator)
    if bias is not None:
        bias.zero_()
