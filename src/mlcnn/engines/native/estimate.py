"""What a convolution costs by each algorithm: products, transforms, weights from memory."""

from dataclasses import dataclass
from math import prod

from mlcnn.engines.native.convolution import bunch_of
from mlcnn.engines.native.geometry import Geometry
from mlcnn.engines.native.kinds import Few, Kind, Sparse
from mlcnn.engines.native.machine import Machine
from mlcnn.engines.native.sparse import layout_of

__all__ = ["Estimate", "estimate"]

_REACHED = 0.95  # of the peak, by the tiles of the kernel
_REACHED_SPARSE = 0.75  # the same where zeros are skipped
_PER_TURNED = 6  # vector operations per vector that becomes part of planes or returns
_ENTRY_BYTES = 6  # of a weight and its place
_PLANES, _TABLES, _INT8 = 14, 5, 3.4  # times the peak in floats, of one plane, one bit, any
_LOOKUPS = 8  # the same of weights that a table holds, comparisons included
_LOOKUP_BITS = 32  # of a weight's share in a table
_ONE_TABLE = 4  # bits of weights of which one table is enough
_PER_VALUE = 8  # vector operations that move and transform a value of a tile


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds of one run of a layer on one core.

    Attributes:
        multiply_s: products at the peak that the kernels reach.
        weights_s: weights, once from memory.
        transform_s: transforms of tiles, there and back.
        useful_macs: products that the layer is made of, those with the border's zeros not counted.
        weight_bytes: that the program keeps.
    """

    multiply_s: float
    weights_s: float
    transform_s: float
    useful_macs: float
    weight_bytes: int

    @property
    def seconds(self) -> float:
        """Weights come while products are computed; transforms do not overlap with either."""
        return max(self.multiply_s, self.weights_s) + self.transform_s

    @property
    def bound(self) -> str:
        """What takes longest."""
        parts = {
            "multiply-adds": self.multiply_s,
            "weights from memory": self.weights_s,
            "transforms": self.transform_s,
        }
        return max(parts, key=lambda name: parts[name])


def estimate(geometry: Geometry, kind: Kind, block: int, machine: Machine) -> Estimate:
    """What one run of a layer should take.

    Args:
        geometry: the layer.
        kind: the algorithm.
        block: channels of a block.
        machine: the core.
    """
    filters = -(-geometry.filters // block) * block
    if geometry.in_rows(block):
        filters = geometry.filters
    channels = geometry.channels * geometry.groups
    per_tap = geometry.images * channels * filters
    rows, columns = geometry.taps(0), geometry.taps(1)
    useful = rows * columns * geometry.images * channels * geometry.filters
    rate = machine.macs_per_s * _REACHED
    if isinstance(kind, Few):
        return _few(geometry, kind, useful, machine)
    if isinstance(kind, Sparse):
        return _sparse(geometry, block, machine)
    if kind is None:
        height, width = geometry.kernel
        weights = 4 * channels * filters * height * width
        if not geometry.across:
            columns = geometry.columns * width
        if geometry.in_rows(block):
            columns = -(-geometry.columns // block) * block * width
        products = per_tap * rows * columns
        return Estimate(products / rate, weights / machine.bytes_per_s, 0.0, useful, weights)
    transform, tiles = kind.transform, geometry.tiles(kind)
    bunch = bunch_of(geometry, kind, block)
    computed = -(-tiles // bunch) * bunch
    values, blocks = transform.values**2, geometry.groups * (len(geometry.lanes) + filters // block)
    products = computed * values * channels * filters
    vectors = tiles * blocks * values * _PER_VALUE
    weights = 4 * transform.classes**2 * channels * filters
    return Estimate(
        products / rate,
        weights / machine.bytes_per_s,
        vectors * block / machine.macs_per_s,
        useful,
        weights,
    )


def _few(geometry: Geometry, kind: Few, useful: float, machine: Machine) -> Estimate:
    """Of codes: products at a multiple of the peak in floats."""
    few = geometry.few
    if few is None:
        raise ValueError("a convolution of floats has no codes of few bits")
    faster = {
        Few.PLANES: _PLANES / (few.weights * few.inputs), Few.TABLES: _TABLES / few.weights,
        Few.INT8: _INT8, Few.LOOKUPS: _LOOKUPS / (1 + (few.weights > _ONE_TABLE)),
    }[kind]  # fmt: skip
    bits = {
        Few.PLANES: few.weights, Few.TABLES: max(4, few.weights), Few.INT8: 8,
        Few.LOOKUPS: _LOOKUP_BITS,
    }[kind]  # fmt: skip
    weights = geometry.channels * geometry.filters * prod(geometry.kernel)
    size = weights * bits // (8 * few.channels if kind is Few.TABLES else 8)
    return Estimate(
        useful / (machine.macs_per_s * faster), size / machine.bytes_per_s, 0.0, useful, size
    )


def _sparse(geometry: Geometry, block: int, machine: Machine) -> Estimate:
    """Of a layer whose zeros are skipped; what is useful are products with the other weights."""
    layout, images = layout_of(geometry, block), geometry.images
    weights = geometry.nonzeros or 0
    blocks = len(geometry.lanes) + -(-geometry.filters // block)
    turned = blocks * geometry.rows * geometry.columns * _PER_TURNED
    copied = geometry.channels * layout.copied
    per_s = machine.macs_per_s / block
    return Estimate(
        images * weights * layout.vectors / (per_s * _REACHED_SPARSE),
        _ENTRY_BYTES * weights / machine.bytes_per_s,
        images * (turned + copied) / per_s,
        images * weights * geometry.rows * geometry.columns,
        _ENTRY_BYTES * weights,
    )
