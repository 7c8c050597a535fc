"""A convolution as a step of the kernels, by one algorithm or another."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlcnn.engines.native.library import Library, Op
from mlcnn.engines.native.packing import Packing
from mlcnn.engines.native.program import Floats, Operation, Part, Value
from mlcnn.engines.native.winograd import Winograd, transformed

__all__ = ["Geometry", "bunch_of", "geometry_of", "implement", "rows_fit"]

_BUNCH_BYTES = 3 << 20  # of transformed tiles and products, that stay in the outer caches
_LEAST_TILES = 24  # that each weight is read for
_SIDE_BY_SIDE = 4  # images, so that weights are read for as many
_SAVED = 0.95  # of the columns' taps, or fewer, that are computed
_WIDE = 6  # positions that the kernel computes at once
_PAIR = 2  # groups that take the lanes in turn
_FILLED = 0.8  # of the lanes of blocks, or fewer, that filters use: then results of a row do better


def rows_fit(filters: int, columns: int, stride: int, block: int) -> bool:
    """Whether the results of a row, instead of filters, should be the lanes of a vector.

    Args:
        filters: of the convolution.
        columns: of its results.
        stride: along columns.
        block: channels of a block.
    """
    return stride == 1 and columns >= block and filters <= _FILLED * block * -(-filters // block)


@dataclass(frozen=True, slots=True)
class Geometry:
    """A convolution; of one in groups, what each of them computes.

    Attributes:
        images: number of images.
        lanes: channels in each block of the input.
        filters: number of filters.
        rows: of a result.
        columns: of a result.
        kernel: its rows and columns.
        strides: along rows and columns.
        dilations: likewise.
        pads: above, left, below and right.
        residual: whether a value is added to the result.
        dense: whether the input is a dense array, which only the direct algorithm reads.
        groups: number of them.
        paired: whether a group is two, whose channels and filters take the lanes in turn.
    """

    images: int
    lanes: tuple[int, ...]
    filters: int
    rows: int
    columns: int
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int, int, int]
    residual: bool = False
    dense: bool = False
    groups: int = 1
    paired: bool = False

    @property
    def channels(self) -> int:
        """Channels of the input."""
        return sum(self.lanes)

    @property
    def shown(self) -> str:
        """In one line."""
        height, width = self.kernel
        strides = f" stride {self.strides[0]}x{self.strides[1]}" if max(self.strides) > 1 else ""
        apart = max(self.dilations) > 1
        dilated = f" dilation {self.dilations[0]}x{self.dilations[1]}" if apart else ""
        pads = f" pads {','.join(map(str, self.pads))}" if any(self.pads) else ""
        return (
            f"{self.images}x{self.channels} -> {self.filters}x{self.rows}x{self.columns}, "
            f"{height}x{width}{strides}{dilated}{pads}{' + residual' if self.residual else ''}"
            f"{f', {self.groups} groups' if self.groups > 1 else ''}"
        )

    def transforms(self) -> tuple[Winograd, ...]:
        """The transforms that compute it, those with the fewest weights first."""
        if self.misfit is not None:
            return ()
        if self.strides == (1, 1):
            return Winograd.F23, Winograd.F43
        return Winograd.F23_STRIDE_2, Winograd.F43_STRIDE_2

    @property
    def misfit(self) -> str | None:
        """Why no transform computes it, in words behind its name; None where one does."""
        if self.kernel != (3, 3):
            return f"has a kernel {self.kernel[0]}x{self.kernel[1]}"
        if self.dilations != (1, 1):
            return f"has dilation {self.dilations[0]}x{self.dilations[1]}"
        if self.strides not in {(1, 1), (2, 2)}:
            return f"has stride {self.strides[0]}x{self.strides[1]}"
        if self.dense:
            return f"reads an image of {self.channels} channels"
        return "has one result per image" if self.rows * self.columns == 1 else None

    @property
    def across(self) -> bool:
        """Whether images are computed side by side: then no tap over the border is computed.

        That is for small images, whose columns meet few taps, if there are enough of them.
        """
        if self.dense:
            return False
        if self.rows * self.columns == 1:
            return self.images > 1
        met = self.taps(1) / (self.columns * self.kernel[1])
        return self.images >= _SIDE_BY_SIDE and met <= _SAVED

    def in_rows(self, block: int) -> bool:
        """Whether the direct algorithm takes the results of a row as lanes."""
        plain = self.dense and not self.residual
        return plain and rows_fit(self.filters, self.columns, self.strides[1], block)

    def taps(self, axis: int) -> int:
        """Taps along rows (0) or columns (1) that meet the image, summed over the results."""
        size, kernel = (self.rows, self.columns)[axis], self.kernel[axis]
        stride, dilation = self.strides[axis], self.dilations[axis]
        before, after = self.pads[axis], self.pads[axis + 2]
        inputs = (size - 1) * stride + (kernel - 1) * dilation + 1 - before - after
        return sum(
            0 <= result * stride - before + tap * dilation < inputs
            for result in range(size)
            for tap in range(kernel)
        )

    def tiles(self, kind: Winograd) -> int:
        """Tiles of all images."""
        return self.images * kind.transform.tiles((self.rows, self.columns))


def geometry_of(operation: Operation, lanes: tuple[int, ...], filters: int) -> Geometry:
    """What an operation computes; lanes and filters of a group. See ``Geometry``."""

    def fields(*names: str) -> tuple[int, ...]:
        return tuple(int(operation.fields[name]) for name in names)

    images, rows, columns = fields("images", "rows", "columns")
    height, width, down, across = fields(
        "kernel_rows", "kernel_columns", "stride_rows", "stride_columns"
    )
    dilations = fields("dilation_rows", "dilation_columns")
    top, left, bottom, right = fields("top", "left", "bottom", "right")
    return Geometry(
        images, lanes, filters, rows, columns, (height, width), (down, across),
        (dilations[0], dilations[1]), (top, left, bottom, right), operation.z is not None,
        operation.x is not None and operation.x.value.dense,
        int(operation.fields.get("groups", 1)), operation.fields.get("together", 1) == _PAIR,
    )  # fmt: skip


def bunch_of(geometry: Geometry, kind: Winograd, block: int) -> int:
    """Tiles that are computed together."""
    tiles = geometry.tiles(kind)
    blocks = len(geometry.lanes) + -(-geometry.filters // block)
    values = kind.transform.values**2
    most = max(_LEAST_TILES, _BUNCH_BYTES // (values * blocks * block * 4))
    even = -(-tiles // -(-tiles // most))
    return min(tiles, -(-even // _WIDE) * _WIDE)


def implement(
    operation: Operation,
    weight: Floats,
    lanes: tuple[int, ...],
    kind: Winograd | None,
    library: Library,
) -> None:
    """Complete a convolution's operation by what its algorithm needs.

    Args:
        operation: input, output, geometry and biases are known.
        weight: (filters, channels, rows, columns), the groups one behind the other.
        lanes: channels in each block of the input, of a group.
        kind: the transform; None computes every product.
        library: the kernels.
    """
    groups = int(operation.fields.get("groups", 1))
    geometry = geometry_of(operation, lanes, len(weight) // groups)
    packing = Packing(library.block, library.group)
    operation.constants["lanes"] = np.array(lanes, np.int32)
    of_groups = np.split(weight, groups)
    if kind is None:
        _every_product(operation, of_groups, geometry, packing)
        return
    of_values, filters = [transformed(kind, w) for w in of_groups], int(operation.fields["filters"])
    bunch = bunch_of(geometry, kind, library.block)
    floats = library.scratch(kind, len(lanes), filters, bunch)
    operation.op = Op.WINOGRAD
    operation.fields |= {
        "mode": kind, "bunch": bunch,
        "chunk": packing.chunk((*of_values[0].shape[1:], 1, 1), lanes, 1, bunch),
    }  # fmt: skip
    _weigh(operation, [
        packing.tiled(value[:, :, None, None], lanes) for values in of_values for value in values
    ])  # fmt: skip
    operation.constants |= {
        "zeros": np.zeros(filters * library.block, np.float32),
    }
    operation.scratch = Part(Value(1, (library.block,), 1, -(-floats // library.block)))


def _weigh(operation: Operation, tiled: Sequence[Floats]) -> None:
    """Give an operation its weights, those of all groups in their order."""
    weights = np.concatenate(tiled)
    operation.constants["weights"] = weights
    operation.fields["group_weights"] = weights.size // int(operation.fields.get("groups", 1))


def _every_product(
    operation: Operation, of_groups: Sequence[Floats], geometry: Geometry, packing: Packing
) -> None:
    weight = of_groups[0]
    if geometry.in_rows(packing.block):
        operation.op = Op.ROWS
        operation.fields["mode"] = geometry.filters
        operation.constants["weights"] = packing.by_filter(weight)
        return
    positions = geometry.rows * geometry.columns
    operation.fields |= {
        "chunk": packing.chunk(weight.shape, geometry.lanes, geometry.images, positions),
        "across": geometry.across,
    }
    _weigh(operation, [packing.tiled(each, geometry.lanes) for each in of_groups])
    if geometry.dense and geometry.dilations[1] == 1:
        # The taps of a row lie side by side, as the channels of a block do elsewhere.
        operation.constants["lanes"] *= np.int32(geometry.kernel[1])
        operation.fields["kernel_columns"] = 1
