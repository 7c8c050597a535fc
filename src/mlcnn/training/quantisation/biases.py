"""Biases on the grid of the sums of products, as the codes have them, while a network trains.

Engines add biases to sums of codes times codes: whole steps of input times weight. Behind a batch
norm the bias is b = gamma (c - mean) / sigma + beta, and the weight's steps are those of the layer
times |gamma| / sigma: beta moves so that b is on the grid. With the statistics of a batch b has no
such meaning, and beta stays as it is.
"""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]
from torch.nn.utils import parametrize

from mlcnn.training.quantisation.dorefa import WeightQuantiser

__all__ = ["GridBias", "put_bias_on_grid"]

_BOUND = 2.0**31  # of the codes; a larger bias is stored in floats, as it is


class GridBias(nn.Module):
    """Rounds a bias, as a parametrisation of it; gradients pass straight through.

    Attributes:
        step: gives that of what the layer reads.
        quantiser: of the layer's weights.
    """

    def __init__(
        self,
        layer: nn.Module,
        norm: _BatchNorm | None,
        quantiser: WeightQuantiser,
        step: Callable[[], float],
    ) -> None:
        super().__init__()
        # In a tuple, as one of them has this as its own module.
        self._read = (layer, norm)
        self.quantiser, self.step = quantiser, step

    def _affine(self, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and shift of the norm, whose bias is given: of one that does nothing, 1 and it."""
        layer, norm = self._read
        if norm is None:
            return torch.ones_like(bias), bias
        mean, variance = cast("Tensor", norm.running_mean), cast("Tensor", norm.running_var)
        scale = norm.weight / torch.sqrt(variance + norm.eps)
        before = cast("Tensor | None", layer.bias)
        return scale, scale * ((0 if before is None else before) - mean) + bias

    def forward(self, bias: Tensor) -> Tensor:
        """The bias with which the whole one is on the grid."""
        layer, norm = self._read
        if norm is not None and self.training:
            return bias
        with torch.no_grad():
            original = layer.parametrizations["weight"].original  # pyright: ignore
            steps = self.quantiser.steps(original).flatten().double()
            scale, whole = (each.double() for each in self._affine(bias))
            unit = (self.step() * steps * scale.abs()).clamp_min(torch.finfo(torch.float32).tiny)
            codes = torch.round(whole / unit)
            moved = torch.where(codes.abs() < _BOUND, codes * unit - whole, 0.0)
        return bias + moved.to(bias.dtype)


def put_bias_on_grid(
    layer: nn.Module,
    norm: nn.Module | None,
    quantiser: WeightQuantiser,
    step: Callable[[], float],
) -> None:
    """Round a layer's bias, or that of the batch norm behind it, if there is one.

    Args:
        layer: its weight is parametrised by the quantiser.
        norm: the batch norm that alone reads it; None where there is none.
        quantiser: of the weight.
        step: gives that of what the layer reads: it may be learnt.
    """
    owner = layer if norm is None else norm
    if cast("Tensor | None", owner.bias) is None:
        return
    made = GridBias(layer, cast("_BatchNorm | None", norm), quantiser, step)
    parametrize.register_parametrization(owner, "bias", made.train(owner.training), unsafe=True)
