"""Latency, energy and constraints of a batch of mappings, with gradients."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mlcnn.codesign.architecture import Operand
from mlcnn.codesign.batch import Batch
from mlcnn.codesign.matrix.form import MatrixForm, Words
from mlcnn.codesign.matrix.hardware import Hardware
from mlcnn.errors import InputError

__all__ = ["MatrixCounts", "MatrixScore", "log_factors", "matrix_counts", "matrix_score"]

_OUTPUT = 2
_NEAR = {torch.float64: 1e-12, torch.float32: 1e-5}
"""Share by which a product of whole factors may be off after logarithm and exponential."""


@dataclass(frozen=True, slots=True)
class MatrixCounts:
    """Words of one instance of each level; tensors of shape (mappings, levels, operands).

    Attributes:
        reads: words that the levels below are sent.
        fills: words that come from above.
        updates: words that come from below: outputs.
        tiles: words that a level holds; 0 of what it does not keep.
        instances: that work, shape (mappings, levels + 1); the last are of the arithmetic.
        cycles: of the arithmetic, shape (mappings,).
        macs: multiply-accumulates, shape (mappings,).
    """

    reads: Tensor
    fills: Tensor
    updates: Tensor
    tiles: Tensor
    instances: Tensor
    cycles: Tensor
    macs: Tensor


@dataclass(frozen=True, slots=True)
class MatrixScore:
    """Mappings scored; tensors of shape (mappings,) where nothing else is said.

    Attributes:
        energy_pj: of accesses and arithmetic.
        bounds: cycles of the arithmetic and of each level's reads, writes and both, shape
            (mappings, 1 + 3 * levels): for a smooth maximum of the caller's.
        counts: words of each level and operand.
    """

    energy_pj: Tensor
    bounds: Tensor
    counts: MatrixCounts

    @property
    def latency_cycles(self) -> Tensor:
        """Cycles of the slowest."""
        return self.bounds.amax(1)

    @property
    def edp(self) -> Tensor:
        """Energy times latency, pJ x cycles."""
        return self.energy_pj * self.latency_cycles


def log_factors(
    batch: Batch, *, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu"
) -> Tensor:
    """Logarithms of the factors of mappings.

    Args:
        batch: the mappings; their orders are not looked at.
        dtype: of the result.
        device: where it lies.

    Returns:
        Shape (mappings, levels, 2, dims): temporal factors, then spatial ones.
    """
    factors = np.stack((batch.temporal, batch.spatial), 1)
    logs = np.ascontiguousarray(np.log(np.moveaxis(factors, 3, 0)))
    return torch.as_tensor(logs, dtype=dtype, device=device)


def matrix_counts(form: MatrixForm, x: Tensor, *, whole: bool = False) -> MatrixCounts:
    """Count words.

    Args:
        form: of the mappings' class.
        x: logarithms of factors, shape (mappings, levels, 2, dims), float32 or float64; where one
            is below 0, counts have no meaning and may be negative.
        whole: whether factors are whole numbers: their products are rounded to such where they are
            as near as logarithms allow, so that counts are exact. Gradients are as without.

    Raises:
        InputError: ``x`` is of another shape or type.
    """
    if x.dtype not in _NEAR or x.shape[1:] != form.shape:
        raise InputError(
            f"factors of {form.nest.name} must be float32 or float64 of shape (mappings, "
            f"{', '.join(map(str, form.shape))}), got {x.dtype} of {tuple(x.shape)}"
        )
    exponents, sums = (torch.as_tensor(one).to(x) for one in (form.exponents, form.sums))
    products = torch.exp(x.flatten(1) @ exponents.T)
    rows = (_nearest(products) if whole else products) @ sums.T
    depth, none = form.shape[0], torch.zeros_like(rows[:, 0])
    reads, fills, updates = ([[none] * len(Operand) for _ in range(depth)] for _ in range(3))
    for link in form.links:
        together, seen = _words(rows, link.together), rows[:, link.seen]
        if link.operand == _OUTPUT:
            updates[link.above][link.operand] = together
            together = together - seen
        reads[link.above][link.operand] = together
        if link.each is not None:
            fills[link.level][link.operand] = _words(rows, link.each)
    tiles = [
        [_words(rows, tile) if form.keep[level, n] else none for n, tile in enumerate(row)]
        for level, row in enumerate(form.tiles)
    ]
    return MatrixCounts(
        *(_stack(array) for array in (reads, fills, updates, tiles)),
        instances=rows[:, list(form.instances)],
        cycles=rows[:, form.cycles],
        macs=rows[:, form.macs],
    )


def _stack(rows: list[list[Tensor]]) -> Tensor:
    return torch.stack([torch.stack(row, 1) for row in rows], 1)


def _words(rows: Tensor, words: Words) -> Tensor:
    """One number of words, shape (mappings,)."""
    sizes = rows[:, list(words.sizes)]
    result = rows[:, words.lead] * sizes.prod(1)
    if words.times:
        away = rows[:, torch.tensor(words.distances, device=rows.device)].abs()
        stays = torch.relu(sizes[:, None] - away).prod(2)
        result = result - (rows[:, list(words.times)] * stays).sum(1)
    return result


def _as(values: Tensor, rounded: Tensor) -> Tensor:
    """Rounded values with the gradient of those that were rounded (straight through)."""
    return values + (rounded - values).detach()


def _nearest(values: Tensor) -> Tensor:
    """Whole numbers in place of what is off by no more than rounding."""
    near = values.round()
    close = (values - near).abs() <= _NEAR[values.dtype] * values
    return _as(values, torch.where(close, near, values))


def _exactly(values: Tensor) -> Tensor:
    return values


def _up(values: Tensor) -> Tensor:
    return _as(values, values.ceil())


def matrix_score(
    form: MatrixForm, x: Tensor, hardware: Hardware, *, whole: bool = False
) -> MatrixScore:
    """Score mappings; what does not fit is scored all the same (``constraints``).

    Args:
        form: of the mappings' class.
        x: logarithms of factors, shape (mappings, levels, 2, dims).
        hardware: sizes, of the same type and on the same device.
        whole: whether factors are whole: then words are rounded up to blocks and cycles to whole
            ones, with gradients as if they were not. In float64 the result has the bits of the
            scorer in numpy.

    Raises:
        InputError: ``x`` is of another shape or type, or the machine has other levels.
    """
    if len(hardware.architecture.levels) != form.shape[0]:
        raise InputError(
            f"architecture {hardware.architecture.name} has {len(hardware.architecture.levels)} "
            f"levels and the mappings have {form.shape[0]}"
        )
    counts = matrix_counts(form, x, whole=whole)
    up = _up if whole else _exactly
    return MatrixScore(_energy(counts, hardware, up), _bounds(counts, hardware, up), counts)


def _energy(counts: MatrixCounts, hardware: Hardware, up: Callable[[Tensor], Tensor]) -> Tensor:
    """Energy of all instances. The order of additions is that of the scorer in numpy."""
    result = counts.macs * hardware.architecture.mac_energy_pj
    for number, level in enumerate(hardware.architecture.levels):

        def blocks(words: Tensor, size: int = level.block_words) -> Tensor:
            return words if size == 1 else up(words / size) * size

        read, written = torch.zeros_like(result), torch.zeros_like(result)
        for operand in range(len(Operand)):
            read = read + blocks(counts.reads[:, number, operand])
            written = written + blocks(counts.fills[:, number, operand])
            written = written + blocks(counts.updates[:, number, operand])
        read_pj, write_pj = hardware.access_pj(number)
        one = read * read_pj + written * write_pj
        result = result + one * counts.instances[:, number]
    return result


def _bounds(counts: MatrixCounts, hardware: Hardware, up: Callable[[Tensor], Tensor]) -> Tensor:
    """Cycles of the arithmetic and at each bandwidth (``scorer.latency_cycles``)."""
    compute = counts.cycles
    result = [compute]
    for number in range(len(hardware.architecture.levels)):
        reads, writes = torch.zeros_like(compute), torch.zeros_like(compute)
        for operand in range(len(Operand)):
            written = counts.updates[:, number, operand] + counts.fills[:, number, operand]
            reads = reads + counts.reads[:, number, operand] / compute
            writes = writes + written / compute
        for kind, needed in enumerate((reads, writes, writes + reads)):
            bandwidth = hardware.bandwidth[..., number, kind]
            slow = needed > bandwidth
            # Where it is not slow nothing is divided, so that no gradient is 0 / 0 there.
            slowdown = torch.where(slow, bandwidth, 1.0) / torch.where(slow, needed, 1.0)
            result.append(torch.where(slow, up(compute / slowdown), compute))
    return torch.stack(result, 1)
