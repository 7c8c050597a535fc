"""A network's layers as one stack of forms: what each may keep, and its classes of orders."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlcnn.codesign.architecture import Architecture, Operand
from mlcnn.codesign.layer_searches import LayerGroup
from mlcnn.codesign.matrix import MatrixForm, OrderClass
from mlcnn.codesign.matrix.stack import FormStack
from mlcnn.workload import LoopNest, Projection, Term

__all__ = ["LayerStack"]

Mask = NDArray[np.bool_]
_OPERANDS = tuple(Operand)


class LayerStack:
    """The distinct layers of a network on machines of a template.

    A mapping has an *option*: what each level keeps, and a class of orders. Layers whose forms are
    the same but for sizes share them.

    Args:
        groups: the layers.
        architecture: whose levels; its sizes do not matter.
        dtype: of tensors.
        device: where they lie.

    Attributes:
        options: number of them.
        counts: how many layers are as each, shape (layers,).
        free: factors that a layer may have, shape (layers, levels, 2, dims).
        sizes: logarithms of the dimensions, shape (layers, dims).
        stack: the forms.
        form: number of the form of each layer and option, shape (layers, options).
    """

    def __init__(
        self,
        groups: Sequence[LayerGroup],
        architecture: Architecture,
        *,
        dtype: torch.dtype,
        device: torch.device | str,
    ) -> None:
        nests = [_without_gaps(group.nest) for group in groups]
        dims = tuple(dict.fromkeys(dim for nest in nests for dim in nest.dims))
        at = [[dims.index(dim) for dim in nest.dims] for nest in nests]
        options = list(_options(architecture))
        forms: list[MatrixForm] = []
        known: dict[object, int] = {}
        numbers = np.zeros((len(nests), len(options)), np.int64)
        free = np.zeros((len(nests), len(architecture.levels), 2, len(dims)), bool)
        logs = np.zeros((len(nests), len(dims)))
        for layer, (nest, places) in enumerate(zip(nests, at, strict=True)):
            own = _free(nest, architecture)
            free[layer][:, :, places] = own
            logs[layer, places] = np.log(nest.sizes)
            alike = _alike(nest)
            for option, (keep, stays) in enumerate(options):
                key = (alike, option)
                if key not in known:
                    known[key] = len(forms)
                    orders = OrderClass.stationary(nest, stays)
                    forms.append(MatrixForm.of(nest, keep, orders, own))
                numbers[layer, option] = known[key]
        self.options, self.form = len(options), numbers
        self.stack = FormStack(forms, dims, dtype=dtype, device=device)
        like = self.stack.like
        self.counts = torch.tensor([len(group.names) for group in groups]).to(like)
        self.free = torch.as_tensor(free, device=like.device)
        self.sizes = torch.as_tensor(logs).to(like)

    def factors(self, logits: Tensor) -> Tensor:
        """Logarithms of factors none of which is below 1 and that multiply to their dimensions.

        Args:
            logits: shape (starts, layers, levels, 2, dims).

        Returns:
            ``log(size) * softmax(logits)`` over the places that a dimension may have a factor at,
            of that shape.
        """
        shares = torch.where(self.free, logits, -torch.inf).flatten(2, 3)
        # A dimension without any place has size 1.
        shares = torch.nan_to_num(torch.softmax(shares, 2))
        return (shares * self.sizes[:, None]).reshape(logits.shape)


def _without_gaps(nest: LoopNest) -> LoopNest:
    """A nest whose windows of one tap touch positions side by side: what lies between is free."""

    def step(term: Term, axis: tuple[Term, ...]) -> Term:
        alone = all(nest.size(other.dim) == 1 for other in axis if other is not term)
        return Term(term.dim) if len(axis) > 1 and alone else term

    axes = tuple(tuple(step(term, axis) for term in axis) for axis in nest.input.axes)
    return replace(nest, input=Projection(axes))


def _alike(nest: LoopNest) -> object:
    """All that a form depends on."""
    return replace(nest, name="", sizes=tuple(min(size, 2) for size in nest.sizes))


def _free(nest: LoopNest, architecture: Architecture) -> Mask:
    """Factors that may be above 1: loops of levels that keep something, and allowed instances."""
    there = np.array(nest.sizes) > 1
    free = np.zeros((len(architecture.levels), 2, len(nest.dims)), bool)
    for number, level in enumerate(architecture.levels):
        if level.keeps:
            free[number, 0] = there
        taken = level.fan_out.dims
        if taken is None:
            taken = nest.dims if level.fan_out.size > 1 else ()
        free[number, 1] = there & np.array([dim in taken for dim in nest.dims])
    return free


def _options(architecture: Architecture) -> Iterator[tuple[Mask, tuple[Operand, ...]]]:
    """What levels keep, all or all but one operand of one level, and what stays longest there."""
    everything = np.array(
        [[one in level.keeps for one in Operand] for level in architecture.levels]
    )
    masks = [everything]
    for level, operand in zip(*np.nonzero(everything), strict=True):
        if level > 0:
            masks.append(everything.copy())
            masks[-1][level, operand] = False
    for keep in masks:
        for stays in itertools.product(*_staying(keep, everything)):
            yield keep, stays


def _staying(keep: Mask, everything: Mask) -> Iterator[tuple[Operand, ...]]:
    """For each level the operands that its orders may leave still: those kept further inside."""
    for level in range(len(keep)):
        inside = keep[level + 1 :]
        some = tuple(one for number, one in enumerate(_OPERANDS) if inside[:, number].any())
        yield some if some and everything[level].any() else _OPERANDS[:1]
