"""Adam (Kingma and Ba, ICLR 2015) of several tensors whose rows may change places on the way."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Moments"]

_MEAN, _SQUARE, _TINY = 0.9, 0.99, 1e-12


@dataclass(frozen=True, slots=True)
class Moments:
    """Means of gradients and of their squares, of each tensor.

    Attributes:
        means: they.
        squares: likewise.
    """

    means: tuple[Tensor, ...]
    squares: tuple[Tensor, ...]

    @classmethod
    def none(cls, tensors: Sequence[Tensor]) -> "Moments":
        """Those before the first step."""
        zeros = tuple(torch.zeros_like(one) for one in tensors)
        return cls(zeros, zeros)

    def after(self, slopes: Sequence[Tensor], step: int) -> tuple[tuple[Tensor, ...], "Moments"]:
        """What a step of length 1 takes off each tensor, and the moments behind it.

        Args:
            slopes: gradients of each.
            step: number of the step, from 1.
        """
        means = tuple(map(_mixed, self.means, slopes, [_MEAN] * len(slopes)))
        powers = [slope**2 for slope in slopes]
        squares = tuple(map(_mixed, self.squares, powers, [_SQUARE] * len(slopes)))
        ahead = tuple(
            mean / (1 - _MEAN**step) / ((square / (1 - _SQUARE**step)).sqrt() + _TINY)
            for mean, square in zip(means, squares, strict=True)
        )
        return ahead, Moments(means, squares)

    def at(self, number: int, taken: Tensor) -> "Moments":
        """With rows of one tensor from elsewhere.

        Args:
            number: of the tensor, of shape (starts, layers, ...).
            taken: for each start and layer, the start that it is from now.
        """
        layer = torch.arange(taken.shape[1], device=taken.device)

        def moved(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            here = tensors[number][taken, layer]
            return (*tensors[:number], here, *tensors[number + 1 :])

        return Moments(moved(self.means), moved(self.squares))


def _mixed(one: Tensor, other: Tensor, share: float) -> Tensor:
    return share * one + (1 - share) * other
