"""What a mapping must hold, as differentiable amounts by which it does not."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mlcnn.codesign.matrix.form import MatrixForm
from mlcnn.codesign.matrix.hardware import Hardware
from mlcnn.codesign.matrix.scorer import MatrixCounts

__all__ = ["Violations", "violations"]

_LEAST = 0.5
"""A capacity below it holds no word; a logarithm of it is still finite."""


@dataclass(frozen=True, slots=True)
class Violations:
    """By how much constraints are missed, in logarithms; 0 where they hold.

    Attributes:
        capacity: of the tiles over their level, shape (mappings, levels); of the worst operand
            where each has its own.
        fan_out: of the instances over the fan-out, shape (mappings, levels).
        misplaced: of spatial factors along dimensions that the fan-out does not take, shape
            (mappings, levels).
        remainder: of the product of a dimension's factors over its size, with its sign, shape
            (mappings, dims).
        below_one: of all factors under one iteration, shape (mappings,).
    """

    capacity: Tensor
    fan_out: Tensor
    misplaced: Tensor
    remainder: Tensor
    below_one: Tensor

    @property
    def total(self) -> Tensor:
        """Their sum, shape (mappings,)."""
        parts = (self.capacity, self.fan_out, self.misplaced, self.remainder.abs())
        return torch.stack([part.sum(1) for part in parts]).sum(0) + self.below_one


def violations(form: MatrixForm, x: Tensor, hardware: Hardware, counts: MatrixCounts) -> Violations:
    """Violations of a batch.

    Args:
        form: of the mappings' class.
        x: logarithms of factors, shape (mappings, levels, 2, dims).
        hardware: sizes.
        counts: of ``x``.
    """
    spatial = x[:, :, 1]
    taken = torch.tensor(
        [
            [level.fan_out.dims is None or dim in level.fan_out.dims for dim in form.nest.dims]
            for level in hardware.architecture.levels
        ],
        device=x.device,
    )
    sizes = torch.tensor(form.nest.sizes, dtype=x.dtype, device=x.device)
    own = _over(counts.tiles, hardware.own).amax(2)
    return Violations(
        torch.maximum(_over(counts.tiles.sum(2), hardware.shared), own),
        torch.relu(spatial.sum(2) - hardware.fan_out.log()),
        torch.where(taken, 0.0, torch.relu(spatial)).sum(2),
        x.sum((1, 2)) - sizes.log(),
        torch.relu(-x).sum((1, 2, 3)),
    )


def _over(words: Tensor, capacity: Tensor) -> Tensor:
    """Logarithm of demand over capacity where that is more than none."""
    held = words > 0
    demand = torch.where(held, words, 1.0).log()
    over = torch.relu(demand - capacity.clamp_min(_LEAST).log())
    return torch.where(held, over, 0.0)
