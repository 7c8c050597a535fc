"""Where activations are cut off while a network trains with its rounding.

DoReFa cuts them off at 1 [Zhou 2016, Eq. 11]. PACT learns where, for each rounded value
[Choi 2018, Eqs. 1 to 3], n = 2^k - 1:

    y = min(max(x, 0), clip);  q = round(n y / clip) clip / n
    dq/dx = 1 for 0 <= x < clip, else 0;  dq/dclip = 1 for x >= clip, else 0

The clip is a step of the codes in the end, clip / n, and costs nothing.
"""

from enum import StrEnum
from typing import Any

import torch
from torch import Tensor, nn

from mlcnn.training.quantisation.grid import LEAST_STEP, Grid

__all__ = ["InputRange", "LearntClip"]


class InputRange(StrEnum):
    """Where an activation of few bits is cut off.

    ``LEARNED``: with the weights, from the calibrated one on. ``CALIBRATED``: where calibration
    images say, once and for all. ``UNIT``: at 1, DoReFa's.
    """

    LEARNED = "learned"
    CALIBRATED = "calibrated"
    UNIT = "unit"


class _Cut(torch.autograd.Function):
    """``q`` of the module's docstring, and its gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, clip: Tensor, step: Tensor, levels: int) -> Tensor:
        wide = x if x.dtype == torch.float64 else x.float()
        ctx.save_for_backward((wide >= 0) & (wide < clip), wide >= clip)
        ctx.dtype = clip.dtype
        codes = torch.round(wide / step).clamp_(0, levels)
        return (codes * step).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (upstream,) = grad_outputs
        inside, above = ctx.saved_tensors
        return upstream * inside, (upstream * above).sum(dtype=ctx.dtype), None, None


class LearntClip(nn.Module):
    """Rounds an activation that is not negative, and learns where to cut it off.

    Attributes:
        clip: the largest number on the grid, shape ().
        bits: of a code.
    """

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self.clip = nn.Parameter(torch.tensor(grid.high))
        self.bits = grid.bits

    @property
    def step(self) -> Tensor:
        """What one code stands for, a float32."""
        return (self.clip.detach().float() / (2**self.bits - 1)).clamp_min(LEAST_STEP)

    @property
    def grid(self) -> Grid:
        """Where it is now."""
        return Grid(self.step.item(), 0, self.bits)

    def forward(self, x: Tensor) -> Tensor:
        """The nearest numbers on the grid; a tie goes to the even code."""
        return _Cut.apply(x, self.clip, self.step, 2**self.bits - 1)  # pyright: ignore
