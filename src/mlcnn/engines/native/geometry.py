"""What a convolution computes, whatever the algorithm."""

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from mlcnn.engines.native.kinds import Few, Kind, Sparse
from mlcnn.engines.native.packing import Group
from mlcnn.engines.native.program import Operation
from mlcnn.engines.native.winograd import Winograd
from mlcnn.workload import Numbers

__all__ = ["Comparisons", "FewBits", "Geometry", "geometry_of", "rows_fit"]

_SIDE_BY_SIDE = 4  # images, so that weights are read for as many
_SAVED = 0.95  # of the columns' taps, or fewer, that are computed
_POSITIONS = 8  # results of a filter, that vectors of positions may pay for
_MOST_COPIED = 1 << 17  # numbers that all taps read in a row
_BESIDE = 64  # numbers, or fewer, between copies
_MANY = 0.5  # of the weights that are not zero, or fewer, may pay to be taken one by one
_MOST_PLANES = 8  # products of planes, that may pay
_BYTE = 8  # bits
_PLACE_BITS = 4  # of a place in a table
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
class FewBits:
    """Codes of few bits, of weights and of inputs.

    Attributes:
        weights: bits of a weight.
        inputs: bits of an input.
        greatest: of the inputs, above the least one.
        summed: whether inputs are sums of codes, of 16 bits.
        floats: whether results are floats.
        shifted: whether a bias of floats is added to them.
    """

    weights: int
    inputs: int
    greatest: int
    summed: bool = False
    floats: bool = False
    shifted: bool = False

    @property
    def numbers(self) -> Numbers:
        """Bits of a weight and of an input, which is no sum."""
        return Numbers(self.weights, self.inputs)

    @property
    def is_few(self) -> bool:
        """Whether both have fewer bits than a byte."""
        return max(self.weights, self.inputs) < _BYTE

    @property
    def entry(self) -> int:
        """The greatest number in a table."""
        return ((1 << self.weights) - 1) * self.greatest * self.channels

    @property
    def channels(self) -> int:
        """Of a table."""
        return max(1, 4 // self.weights)

    def kinds(self, lanes: tuple[int, ...], block: int, tables: bool) -> tuple[Few, ...]:
        """The algorithms that compute them, those with the fewest weights first.

        Args:
            lanes: channels in each block of the input.
            block: channels of a block.
            tables: whether there are kernels for them.
        """
        if not self.is_few:
            return (Few.INT8,)
        found = [Few.PLANES] if self.weights * self.inputs <= _MOST_PLANES else []
        places = len(lanes) * block // self.channels
        if (
            tables
            and self.weights <= _PLACE_BITS
            and self.entry <= 255
            and places * self.entry < 1 << 16
        ):
            found.append(Few.TABLES)
        return *found, Few.INT8


@dataclass(frozen=True, slots=True)
class Comparisons:
    """Comparisons in front of a layer of their bits.

    Attributes:
        lanes: channels in each block of what is compared.
        patterns: comparisons of each channel.
        window: rows and columns that hold all taps.
        strides: of the windows, along rows and columns.
        shared: whether the channels of a block compare the same taps.
        floats: whether they are floats, not codes.
    """

    lanes: tuple[int, ...]
    patterns: int
    window: tuple[int, int]
    strides: tuple[int, int]
    shared: bool
    floats: bool

    @property
    def shown(self) -> str:
        """In some words."""
        rows, columns = self.window
        pairs = "a pair" if self.patterns == 1 else f"{self.patterns} pairs"
        return f"{pairs} of each of {sum(self.lanes)} channels compared in {rows}x{columns}"


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
        nonzeros: weights, or coefficients of shared kernels, that are not zero; None where
            it does not pay to look at each.
        bases: kernels that all filters share; 0 where each has its own.
        focused: whether a mask tells which positions are computed.
        few: of codes with few bits; None of floats.
        ways: the algorithms that compute these.
        compared: comparisons that make the bits that it reads.
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
    nonzeros: int | None = None
    bases: int = 0
    focused: bool = False
    few: FewBits | None = None
    ways: tuple[Few, ...] = ()
    compared: Comparisons | None = None

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
            f"{f', {self.bases} shared kernels' if self.bases else ''}"
            f"{'' if self.nonzeros is None else f', {self.nonzeros} weights'}"
            f"{', focused' * self.focused}"
            f"{'' if self.compared is None else f', {self.compared.shown}'}"
            f"{'' if self.few is None else f', W{self.few.weights}A{self.few.inputs}'}"
        )

    def kinds(self) -> tuple[Kind, ...]:
        """The algorithms that compute it, those with the fewest weights first."""
        if self.focused:  # tiles of a transform with stride 2 take their places by class
            return (None, *self.transforms()) if self.strides == (1, 1) else (None,)
        if self.few is not None:
            return self.ways
        sparse = Sparse.SHARED if self.bases else Sparse.WEIGHTS
        return *(() if self.nonzeros is None else (sparse,)), None, *self.transforms()

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
        if self.few is not None:
            return "reads codes"
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
        if self.dense or self.focused:
            return False
        if self.rows * self.columns == 1:
            return self.images > 1
        met = self.taps(1) / (self.columns * self.kernel[1])
        return self.images >= _SIDE_BY_SIDE and met <= _SAVED

    def in_rows(self, block: int) -> bool:
        """Whether the direct algorithm takes the results of a row as lanes."""
        plain = self.dense and not self.residual and not self.focused
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

    def fields(self, sizes: tuple[int, int]) -> dict[str, int | float]:
        """Of a step that computes it.

        Args:
            sizes: rows and columns of the input.
        """
        top, left, bottom, right = self.pads
        return {
            "images": self.images, "blocks": len(self.lanes), "rows": self.rows,
            "columns": self.columns, "kernel_rows": self.kernel[0],
            "kernel_columns": self.kernel[1], "stride_rows": self.strides[0],
            "stride_columns": self.strides[1], "dilation_rows": self.dilations[0],
            "dilation_columns": self.dilations[1], "input_rows": sizes[0],
            "input_columns": sizes[1], "top": top, "left": left, "bottom": bottom, "right": right,
            "groups": self.groups, "together": 1 + self.paired,
        }  # fmt: skip

    def tiles(self, kind: Winograd) -> int:
        """Tiles of all images."""
        return self.images * kind.transform.tiles((self.rows, self.columns))


def geometry_of(operation: Operation, part: Group) -> Geometry:
    """What an operation computes with these weights, of all groups; see ``Geometry``."""

    def fields(*names: str) -> tuple[int, ...]:
        return tuple(int(operation.fields[name]) for name in names)

    images, rows, columns = fields("images", "rows", "columns")
    height, width, down, across = fields(
        "kernel_rows", "kernel_columns", "stride_rows", "stride_columns"
    )
    dilations = fields("dilation_rows", "dilation_columns")
    top, left, bottom, right = fields("top", "left", "bottom", "right")
    groups = int(operation.fields.get("groups", 1))
    geometry = Geometry(
        images, part.lanes, len(part.weight) // groups, rows, columns, (height, width),
        (down, across), (dilations[0], dilations[1]), (top, left, bottom, right),
        operation.z is not None,
        operation.x is not None and operation.x.value.dense,
        groups, operation.fields.get("together", 1) == _PAIR, focused=operation.mask is not None,
    )  # fmt: skip
    return replace(geometry, **_zeros(geometry, part))


def _copied(geometry: Geometry) -> int:
    return (geometry.columns + _BESIDE) * prod(geometry.kernel)


def _zeros(geometry: Geometry, part: Group) -> dict[str, int]:
    """How many weights are not zero, where it may pay to skip the others."""
    few = geometry.rows * geometry.columns < _POSITIONS
    if (
        geometry.dense
        or geometry.focused
        or geometry.groups > 1
        or few
        or _copied(geometry) > _MOST_COPIED
    ):
        return {}
    if part.shared is not None and geometry.strides[1] == 1:
        nonzeros, bases = np.count_nonzero(part.shared.coefficients), len(part.shared.basis)
        return {"nonzeros": int(nonzeros), "bases": bases}
    nonzeros = int(np.count_nonzero(part.weight))
    return {"nonzeros": nonzeros} if nonzeros <= _MANY * part.weight.size else {}
