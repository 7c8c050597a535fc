"""Mappings of many layers and classes of orders scored as one batch.

A form's rows are put in one layout for all forms (first words, then positions along the axes that
slide, then what stays at each move), so that all that follows the two matrix products is done for
all mappings at once. Nothing is rounded: it is ``matrix_score`` with ``whole=False``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlcnn.codesign.architecture import Operand
from mlcnn.codesign.matrix.form import MatrixForm, Words
from mlcnn.codesign.matrix.hardware import Hardware
from mlcnn.errors import InputError

__all__ = ["Arrangement", "FormStack", "StackCounts"]

_OUTPUT = 2
_T = TypeVar("_T")
Key = tuple[str, int, int]
"""What words are: read, fill, update, seen or tile; level; operand."""


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Which form each mapping of a batch is of.

    Attributes:
        order: numbers of the mappings by form.
        back: place of each mapping in that order.
        parts: each form with its first mapping in that order and the one behind its last.
    """

    order: Tensor
    back: Tensor
    parts: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class StackCounts:
    """Words of one instance of each level.

    Attributes:
        reads: that are read, shape (mappings, levels).
        writes: that are written, shape (mappings, levels).
        tiles: that a level holds of each operand, shape (mappings, levels, operands).
        instances: that work, shape (mappings, levels + 1); the last are of the arithmetic.
        cycles: of the arithmetic, shape (mappings,).
        macs: multiply-accumulates, shape (mappings,).
    """

    reads: Tensor
    writes: Tensor
    tiles: Tensor
    instances: Tensor
    cycles: Tensor
    macs: Tensor

    def energy_pj(self, hardware: Hardware) -> Tensor:
        """Of accesses and arithmetic, shape (mappings,)."""
        result = self.macs * hardware.architecture.mac_energy_pj
        for number in range(self.reads.shape[1]):
            read_pj, write_pj = hardware.access_pj(number)
            one = self.reads[:, number] * read_pj + self.writes[:, number] * write_pj
            result = result + one * self.instances[:, number]
        return result

    def latency_cycles(self, hardware: Hardware) -> Tensor:
        """Of the arithmetic or of the slowest level, shape (mappings,)."""
        moved = torch.stack([self.reads, self.writes, self.reads + self.writes], 2)
        slowest = (moved / hardware.bandwidth).flatten(1).amax(1)
        return torch.maximum(self.cycles, slowest)


class FormStack:
    """Forms of nests of any sizes, of machines of as many levels.

    Args:
        forms: they.
        dims: of all nests together, in the order of factors.
        dtype: of factors.
        device: where tensors lie.

    Raises:
        InputError: forms of other levels, or none.
    """

    def __init__(
        self,
        forms: Sequence[MatrixForm],
        dims: Sequence[str],
        *,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> None:
        if len({form.shape[0] for form in forms}) != 1:
            raise InputError("forms of one number of levels are required, and at least one")
        self.depth, self.dims = forms[0].shape[0], tuple(dims)
        self.like = torch.empty(0, dtype=dtype, device=device)
        words = [_words(form) for form in forms]
        every = [(key, one) for some in words for key, one in some.items()]
        sliding = {key for key, one in every if one.sizes or one.times}
        self.keys = sorted({key for key, _ in every}, key=lambda key: (key in sliding, key))
        self.slides = len(sliding)
        self.axes = max(len(one.sizes) for _, one in every)
        self.moves = max(len(one.times) for _, one in every)
        self.reads, self.writes, self.tiles = map(self._tensor, self._sums())
        self.tables = [self._table(form, some) for form, some in zip(forms, words, strict=True)]

    def _tensor(self, array: NDArray[np.float64]) -> Tensor:
        return torch.as_tensor(array).to(self.like)

    def _sums(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Which words are reads and writes of each level, and tiles of each operand there."""
        reads, writes = np.zeros((2, len(self.keys), self.depth))
        tiles = np.zeros((len(self.keys), self.depth * len(Operand)))
        for number, (kind, level, operand) in enumerate(self.keys):
            if kind == "tile":
                tiles[number, level * len(Operand) + operand] = 1.0
                continue
            reads[number, level] = {"read": 1.0, "update": 1.0, "seen": -1.0}.get(kind, 0.0)
            writes[number, level] = float(kind in {"update", "fill"})
        return reads, writes, tiles

    def _table(self, form: MatrixForm, words: dict[Key, Words]) -> tuple[Tensor, Tensor]:
        """Exponents and sums of a form in the layout of all, each transposed."""
        exponents = np.zeros((form.exponents.shape[0] + 1, self.depth, 2, len(self.dims)))
        at = [self.dims.index(dim) for dim in form.nest.dims]
        exponents[:-1, :, :, at] = form.exponents.reshape(-1, *form.shape)
        sums = np.pad(form.sums, ((0, 2), (0, 1)))
        one, none = len(sums) - 2, len(sums) - 1
        sums[one, -1] = 1.0  # the last product is empty
        missing = Words(none)
        some = [words.get(key, missing) for key in self.keys]
        slide = some[len(some) - self.slides :]
        moves, axes = range(self.moves), range(self.axes)
        rows = [word.lead for word in some]
        rows += [_at(word.sizes, axis, one) for word in slide for axis in axes]
        rows += [_at(word.times, move, none) for word in slide for move in moves]
        rows += [
            _at(_at(word.distances, move, ()), axis, none)
            for word in slide
            for move in moves
            for axis in axes
        ]
        rows += [*form.instances, form.cycles, form.macs]
        used = np.flatnonzero(sums[rows].any(0))
        flat = exponents[used].reshape(len(used), -1)
        return self._tensor(flat.T.copy()), self._tensor(sums[rows][:, used].T.copy())

    def arranged(self, numbers: NDArray[np.int64]) -> Arrangement:
        """What ``counts`` needs to know of a batch.

        Args:
            numbers: of each mapping's form, shape (mappings,).
        """
        order = np.argsort(numbers, kind="stable")
        there, first = np.unique(numbers[order], return_index=True)
        ends = [*first[1:].tolist(), len(numbers)]
        parts = tuple(zip(there.tolist(), first.tolist(), ends, strict=True))
        device = self.like.device
        back = torch.as_tensor(np.argsort(order), device=device)
        return Arrangement(torch.as_tensor(order, device=device), back, parts)

    def counts(self, x: Tensor, arrangement: Arrangement) -> StackCounts:
        """Count words.

        Args:
            x: logarithms of factors, shape (mappings, levels, 2, dims).
            arrangement: of the mappings.
        """
        flat = x.flatten(1)[arrangement.order]
        parts = [
            torch.exp(flat[first:last] @ self.tables[form][0]) @ self.tables[form][1]
            for form, first, last in arrangement.parts
        ]
        rows = torch.cat(parts)[arrangement.back]
        slides, axes, moves = self.slides, self.axes, self.moves
        lengths = [len(self.keys) - slides, slides, slides * axes, slides * moves]
        lengths += [slides * moves * axes, self.depth + 1, 1, 1]
        plain, lead, sizes, times, away, instances, cycles, macs = rows.split(lengths, 1)
        sizes = sizes.unflatten(1, (slides, axes))
        away = away.unflatten(1, (slides, moves, axes)).abs()
        stays = _product(torch.relu(sizes[:, :, None] - away))
        stayed = (times.unflatten(1, (slides, moves)) * stays).sum(2)
        words = torch.cat([plain, lead * _product(sizes) - stayed], 1)
        return StackCounts(
            words @ self.reads,
            words @ self.writes,
            (words @ self.tiles).unflatten(1, (self.depth, len(Operand))),
            instances,
            cycles[:, 0],
            macs[:, 0],
        )


def _product(values: Tensor) -> Tensor:
    """Over the last axis, which is short: quicker than ``prod``, whose gradient asks for zeros."""
    result = torch.ones_like(values[..., 0])
    for axis in range(values.shape[-1]):
        result = result * values[..., axis]
    return result


def _at(values: Sequence[_T], number: int, otherwise: _T) -> _T:
    return values[number] if number < len(values) else otherwise


def _words(form: MatrixForm) -> dict[Key, Words]:
    """All words of a form."""
    result: dict[Key, Words] = {}
    for link in form.links:
        if link.operand == _OUTPUT:
            result["update", link.above, link.operand] = link.together
            result["seen", link.above, link.operand] = Words(link.seen)
        else:
            result["read", link.above, link.operand] = link.together
        if link.each is not None:
            result["fill", link.level, link.operand] = link.each
    for level, row in enumerate(form.tiles):
        for operand, tile in enumerate(row):
            if form.keep[level, operand]:
                result["tile", level, operand] = tile
    return result
