"""DoReFa's quantiser with straight-through gradients [MLCNN] Eqs. 8 and 9, [Zhou 2016].

    quantize_k(r) = round((2^k - 1) r) / (2^k - 1)                        r in [0, 1]
    weights: 2 quantize_k(tanh(w) / (2 max|tanh(w)|) + 1/2) - 1           max over the layer

Its weights have 2^k values, evenly spaced and symmetric, and no 0 among them: odd codes
c = 2q - (2^k - 1) of step 1 / (2^k - 1) and zero point 0. They fit int8 for up to 7 bits. With 8
bits, int8 has room for the 255 codes -127 to 127 of step 1 / 127 only: one value less than 2^8.

Eq. 9 forgets how large weights are, which a network trained with it makes up for, in its batch
norms. To start from a trained one, a filter's range is a multiple of its own standard deviation
instead, with the same grid; what lies outside is cut off. That of signs alone is the mean magnitude
of the filter, whose squared error is least [Rastegari 2016]. A weight that is cut off has its
gradient all the same, and comes back when that says so.
"""

from enum import StrEnum

import torch
from torch import Tensor, nn

__all__ = ["WeightQuantiser", "WeightRange"]

_INT8_BITS = 8
# In standard deviations: the outermost of 2^k even steps that fit a normal distribution best, by
# squared error [Max 1960, Table II].
_SIGMAS = {2: 1.494, 3: 2.051, 4: 2.514, 5: 2.916, 6: 3.282, 7: 3.619, 8: 3.931}


class WeightRange(StrEnum):
    """What a weight is divided by before it is rounded.

    ``TANH``: as Eq. 9 has it, over the layer. ``SIGMA``: a multiple of its filter's standard
    deviation; with 1 bit its mean magnitude.
    """

    TANH = "tanh"
    SIGMA = "sigma"


def _rounded(x: Tensor) -> Tensor:
    """The nearest whole number, a tie to even; gradients pass straight through."""
    return x + (torch.round(x) - x).detach()


def _cut(x: Tensor) -> Tensor:
    """What lies outside of -1 to 1 on the ends; gradients pass straight through."""
    return x + (torch.clamp(x, -1, 1) - x).detach()


class WeightQuantiser(nn.Module):
    """Rounds a layer's weight, as a parametrisation of it.

    Attributes:
        bits: of a code.
        kind: what weights are divided by.
    """

    def __init__(self, bits: int, kind: WeightRange = WeightRange.SIGMA) -> None:
        super().__init__()
        self.bits, self.kind = bits, kind

    def ranges(self, weight: Tensor) -> Tensor:
        """What the outermost code of each filter stands for, shape (filters, 1, ...)."""
        if self.kind is WeightRange.TANH:
            return weight.new_ones([len(weight), *[1] * (weight.ndim - 1)])
        axes = tuple(range(1, weight.ndim))
        given = weight.detach()
        if self.bits == 1:
            found = given.abs().mean(axes, keepdim=True)
        else:
            found = _SIGMAS[self.bits] * given.square().mean(axes, keepdim=True).sqrt()
        return found.clamp_min(torch.finfo(weight.dtype).tiny)

    def steps(self, weight: Tensor) -> Tensor:
        """What one code of each filter stands for, shape (filters, 1, ...)."""
        return self.ranges(weight) / self.largest

    @property
    def largest(self) -> int:
        """The largest code."""
        return 127 if self.bits == _INT8_BITS else 2**self.bits - 1

    def codes(self, weight: Tensor) -> Tensor:
        """The codes, as numbers with gradients."""
        if self.kind is WeightRange.TANH:
            squashed = torch.tanh(weight)
            unit = squashed / squashed.abs().max().clamp_min(torch.finfo(weight.dtype).tiny)
        else:
            unit = _cut(weight / self.ranges(weight))
        if self.bits == _INT8_BITS:
            return _rounded(unit * self.largest)
        return 2 * _rounded(self.largest * (unit / 2 + 0.5)) - self.largest

    def forward(self, weight: Tensor) -> Tensor:
        """The weight on the grid."""
        return self.codes(weight) * self.steps(weight)
