"""Words that each level reads and writes, per operand and direction."""

from dataclasses import dataclass
from itertools import pairwise
from math import prod

import numpy as np
from numpy.typing import NDArray

from mlcnn.codesign.architecture import Operand
from mlcnn.codesign.batch import Batch
from mlcnn.codesign.conventions import Convention
from mlcnn.codesign.moves import taken_at_once, taken_in
from mlcnn.codesign.nested import Nested, product, tiles_of
from mlcnn.codesign.space import Access, accesses
from mlcnn.codesign.windows import box, touched
from mlcnn.errors import InputError
from mlcnn.workload import LoopNest

__all__ = ["MAX_EXACT", "Counts", "check_exact", "count", "tile_words"]

MAX_EXACT = 2.0**53
"""Counts up to here are exact in float64."""

Array = NDArray[np.float64]
_OUTPUT = 2


@dataclass(frozen=True, slots=True)
class Counts:
    """Words of one instance of each level; arrays of shape (levels, operands, mappings).

    Attributes:
        reads: words that the levels below are sent.
        fills: words that come from above.
        updates: words that come from below: outputs.
        instances: instances of each level that work, shape (levels + 1, mappings): the last row
            is of the arithmetic.
        cycles: of the arithmetic, shape (mappings,).
        macs: multiply-accumulates, shape (mappings,).
    """

    reads: Array
    fills: Array
    updates: Array
    instances: Array
    cycles: Array
    macs: Array

    def part(self, start: int, stop: int) -> "Counts":
        """Those of the mappings from ``start`` up to ``stop``; no copies."""
        cut = slice(start, stop)
        return Counts(
            self.reads[..., cut],
            self.fills[..., cut],
            self.updates[..., cut],
            self.instances[:, cut],
            self.cycles[cut],
            self.macs[cut],
        )


def count(nest: LoopNest, batch: Batch, rule: Convention, *, exchange: bool = False) -> Counts:
    """Count the words of many mappings.

    With F(c) the words that the tiles at level c take in (``moves``) and V(p) the outputs that
    one instance of level p ever sees::

        weight, input   reads of p = F(c) taken in together below it, fills of c = F(c) each
        output          updates of p = F(c) together, reads of p = that - V(p),
                        fills of c = F(c) each, without V(c) where first fills are not counted

    where c is the next inner level of p that keeps the operand; below the innermost stands the
    arithmetic, which takes in anew what it needs in each cycle.

    Args:
        nest: what is mapped.
        batch: the mappings; factors as they are, checked by ``check_factors``.
        rule: what is counted.
        exchange: whether only what levels exchange is counted, not what the arithmetic takes.

    Raises:
        InputError: a count is beyond the integers that are exact in float64.
        UnsupportedError: the nest's operands are of no form that is known here.
    """
    nested = Nested.of(batch)
    shape = (nested.depth, len(Operand), len(batch))
    reads, fills, updates = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    result = Counts(reads, fills, updates, *_work(nested))
    for operand, access in enumerate(accesses(nest)):
        _count_operand(result, operand, access, nested, rule, exchange=exchange)
    arrays = (reads, fills, updates, result.macs)
    check_exact(nest, max(float(array.max(initial=0.0)) for array in arrays))
    return result


def _count_operand(
    counts: Counts,
    operand: int,
    access: Access,
    nested: Nested,
    rule: Convention,
    *,
    exchange: bool,
) -> None:
    keeping = [int(level) for level in np.flatnonzero(nested.batch.keep[:, operand])]
    for above, level in pairwise(keeping):
        taken = taken_in(access, nested, above, level, rule)
        _enter(counts, operand, above, taken.together, _seen(access, nested, above))
        counts.fills[level, operand] = taken.each
        if operand == _OUTPUT and not rule.first_fill:
            counts.fills[level, operand] -= _seen(access, nested, level)
    if exchange:
        return
    last = keeping[-1]
    once = taken_at_once(access, nested, last, rule)
    _enter(counts, operand, last, once, _seen(access, nested, last))


def _enter(counts: Counts, operand: int, level: int, words: Array, first: Array) -> None:
    """What the level gives to those below and, for outputs, gets from them."""
    if operand == _OUTPUT:
        counts.updates[level, operand] = words
        counts.reads[level, operand] = words - first
    else:
        counts.reads[level, operand] = words


def _seen(access: Access, nested: Nested, level: int) -> Array:
    """Different words of an operand without windows that one instance of a level ever has."""
    return nested.words(access, 0) / nested.copies(access, 0, level)


def _work(nested: Nested) -> tuple[Array, Array, Array]:
    """Instances, cycles and multiply-accumulates."""
    one = np.ones(len(nested.batch))
    cycles = product(nested.loops.factor, one)
    instances = [one]
    for row, dims in zip(nested.batch.spatial, nested.spread, strict=True):
        instances.append(product((row[dim] for dim in sorted(dims)), instances[-1]))
    return np.stack(instances), cycles, cycles * instances[-1]


def check_exact(nest: LoopNest, largest: float) -> None:
    """Check that what counts up to ``largest`` are made of is exact in float64.

    A bounding box has at most stride + dilation times the positions that are touched along each
    axis, so no product on the way is more than these times a count.

    Raises:
        InputError: it is not.
    """
    boxes = [sum(term.step for term in axis) for axis in nest.input.axes if len(axis) > 1]
    if not largest * prod(boxes) <= MAX_EXACT:
        raise InputError(
            f"nest {nest.name}: a count of {largest:.3g} words or operations is beyond what "
            "float64 holds exactly; split the layer or its batch"
        )


def tile_words(nest: LoopNest, batch: Batch, rule: Convention) -> Array:
    """Words of the tile of each operand at each level, whether it is kept there or not.

    Args:
        nest: what is mapped.
        batch: the mappings.
        rule: how the input's tile is measured.

    Returns:
        Shape (levels, operands, mappings), of one instance.
    """
    measure = box if rule.box else touched
    nested = Nested.of(batch)
    rows: list[Array] = []
    for level in range(nested.depth):
        for access in accesses(nest):
            tiles = tiles_of(access, nested, level, level)
            words = nested.words(access, level)
            rows.append(product(map(measure, access.windows, tiles), words))
    return np.stack(rows).reshape(nested.depth, len(Operand), len(batch))
