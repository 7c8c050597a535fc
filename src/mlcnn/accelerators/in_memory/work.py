"""A layer as rows of bits that meet: windows of inputs, filters, and planes of both."""

import math
from dataclasses import dataclass, replace

from mlcnn.accelerators.cost import LayerTask
from mlcnn.workload import ConvLayer, Pool

__all__ = ["Products", "products_of"]


@dataclass(frozen=True, slots=True)
class Products:
    """What is multiplied, bit by bit; of one group of channels, where there are several.

    Attributes:
        groups: of channels, each with filters and windows of its own.
        filters: of a group.
        windows: positions of the whole batch.
        length: numbers of a window, and of a filter.
        weight_bits: planes of a weight.
        input_bits: planes of an input, or of a box sum.
        stored_inputs: all inputs, or box sums of them, as the buffer holds them.
        band_inputs: those that one row of positions reads, of one image.
        loaded_bits: all inputs as they come from DRAM.
        written_bits: all outputs as they go there.
        input_additions: of box sums.
        pool_additions: of a pool behind the sums.
        outputs: what is written.
        fused: whether windows are of box sums.
        made_here: whether the inputs were made on the chip, and lie in the buffer.
    """

    groups: int
    filters: int
    windows: int
    length: int
    weight_bits: int
    input_bits: int
    stored_inputs: int
    band_inputs: int
    loaded_bits: int
    written_bits: int
    input_additions: int
    pool_additions: int
    outputs: int
    fused: bool
    made_here: bool = False

    @property
    def row_operations(self) -> int:
        """Pairs of planes of all windows and filters, each of one row at least."""
        pairs = self.groups * self.filters * self.windows
        return pairs * self.weight_bits * self.input_bits


def products_of(task: LayerTask) -> tuple[Products, ...]:
    """A layer in every way that it can run: on box sums of a pool behind it, or the pool behind.

    Args:
        task: a layer whose weights and inputs have few bits.
    """
    nest, pool = task.nest, task.nest.pool
    if pool is None or not pool.is_plain(nest.P, nest.Q):
        return (_plain(task),)
    return _pooled(task, pool), _plain(task)


def _plain(task: LayerTask) -> Products:
    nest, numbers = task.nest, task.layer.numbers
    height, width = nest.pooled
    taps = 0 if nest.pool is None else math.prod(nest.pool.kernel) - 1
    outputs = nest.N * nest.K * height * width
    bits = numbers.operand if nest.pool is None else numbers.input
    return Products(
        groups=nest.G,
        filters=nest.K // nest.G,
        windows=nest.N * nest.P * nest.Q,
        length=nest.products,
        weight_bits=numbers.weight,
        input_bits=bits,
        stored_inputs=nest.N * nest.C * nest.H * nest.W,
        band_inputs=nest.C * min(nest.R, nest.H) * nest.W,
        loaded_bits=nest.N * nest.C * nest.H * nest.W * min(task.loaded_bits, bits),
        written_bits=outputs * task.written_bits,
        input_additions=0,
        pool_additions=outputs * taps,
        outputs=outputs,
        fused=False,
    )


def _pooled(task: LayerTask, pool: Pool) -> Products:
    """Windows of box sums, one for each position behind the pool."""
    nest = task.nest
    height, width = nest.pooled
    rows, columns = (_sums(nest, pool, axis) for axis in (0, 1))
    stored = nest.N * nest.C * rows * columns
    largest = ((1 << task.layer.numbers.input) - 1) * math.prod(pool.kernel)
    return replace(
        _plain(task),
        windows=nest.N * height * width,
        input_bits=largest.bit_length(),
        stored_inputs=stored,
        band_inputs=nest.C * nest.R * columns,
        input_additions=stored * sum(size - 1 for size in pool.kernel),
        pool_additions=0,
        fused=True,
    )


def _sums(nest: ConvLayer, pool: Pool, axis: int) -> int:
    """Different places of box sums along an axis that the windows read."""
    step = pool.strides[axis] * nest.strides[axis]
    taps = range((nest.R, nest.S)[axis])
    return len(
        {step * at + nest.dilations[axis] * tap for at in range(nest.pooled[axis]) for tap in taps}
    )
