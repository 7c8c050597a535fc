"""How a mask goes through a layer: which outputs matter if these inputs do.

Inside of a rule masks are numbers in single precision, 0 or 1, shape (N, 1, height, width).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
import onnx_ir as ir

from mlcnn.ops.emitter import Emitter

__all__ = ["Growth", "Masks", "Striding", "Windowed"]

Pair = tuple[int, int]


class Growth(StrEnum):
    """What becomes of a mask where windows overlap.

    ``same``: an output is kept whose own place is. ``patch``: one whose window touches a kept
    input. ``grow``: one that a kept output further on reads, so that those are what they are in
    the dense network.
    """

    SAME = "same"
    PATCH = "patch"
    GROW = "grow"


class Striding(StrEnum):
    """Which outputs are kept that stand for several places: with any of them kept, or a half."""

    ANY = "any"
    MAJORITY = "majority"


@dataclass(frozen=True, slots=True)
class Windowed:
    """The windows of a layer.

    Attributes:
        size: height and width of the input.
        outputs: of the output.
        pads: zeros above and to the left.
    """

    size: Pair
    outputs: Pair
    kernel: Pair
    strides: Pair = (1, 1)
    dilations: Pair = (1, 1)
    pads: Pair = (0, 0)

    @property
    def extents(self) -> Pair:
        """Height and width that a window spans."""
        first, second = zip(self.kernel, self.dilations, strict=True)
        return (first[0] - 1) * first[1] + 1, (second[0] - 1) * second[1] + 1


@dataclass(slots=True)
class Masks:
    """Builds masks from masks.

    Attributes:
        emitter: what builds the nodes, in single precision: engines pool nothing else everywhere.
        striding: which outputs are kept where one stands for several places.
        made: what was built, by what it was built from: layers of one kind share a mask.
    """

    emitter: Emitter
    striding: Striding = Striding.ANY
    made: dict[tuple[object, ...], ir.Value] = field(default_factory=dict)

    def same(self, mask: ir.Value, layer: Windowed) -> ir.Value:
        """Outputs whose own place is kept: the middle of the window, and what a stride leaps."""
        top, left = (p - (e - 1) // 2 for p, e in zip(layer.pads, layer.extents, strict=True))
        if layer.strides == (1, 1) and top == left == 0 and layer.size == layer.outputs:
            return mask
        place = replace(layer, kernel=layer.strides, dilations=(1, 1), pads=(top, left))
        if self.striding is Striding.ANY or layer.strides == (1, 1):
            return self._windows(mask, "MaxPool", place)
        return self._nonempty(self._above(self._windows(mask, "AveragePool", place), 0.5))

    def patch(self, mask: ir.Value, layer: Windowed) -> ir.Value:
        """Outputs whose window touches a kept input."""
        return self._windows(mask, "MaxPool", layer)

    def read_by(self, mask: ir.Value, layer: Windowed) -> ir.Value:
        """Inputs that a kept output reads."""
        spread = self._spread(mask, layer.strides)
        rows, columns = (n * s for n, s in zip(layer.outputs, layer.strides, strict=True))
        top, left = (e - 1 - p for p, e in zip(layer.pads, layer.extents, strict=True))
        backward = replace(
            layer, size=(rows, columns), outputs=layer.size, strides=(1, 1), pads=(top, left)
        )
        return self._windows(spread, "MaxPool", backward)

    def either(self, masks: Sequence[ir.Value]) -> ir.Value:
        """Kept by any."""
        different = [*dict.fromkeys(masks)]
        return different[0] if len(different) == 1 else self._made("Max", different)

    def flags(self, mask: ir.Value) -> ir.Value:
        """As booleans."""
        return self._made("Cast", [mask], to=ir.DataType.BOOL.value)

    def start(self, flags: ir.Value) -> ir.Value:
        """Numbers from booleans; an image of which nothing is kept is computed whole."""
        return self._nonempty(self._numbers(flags))

    def _numbers(self, flags: ir.Value) -> ir.Value:
        return self._made("Cast", [flags], to=ir.DataType.FLOAT.value)

    def _nonempty(self, mask: ir.Value) -> ir.Value:
        axes = self.emitter.integers((1, 2, 3), "axes")
        most = self._made("ReduceMax", [mask, axes], keepdims=1)
        none = self._made("Sub", [self._number(1.0), most])
        return self._made("Max", [mask, none])

    def _above(self, value: ir.Value, least: float) -> ir.Value:
        return self._numbers(self._made("GreaterOrEqual", [value, self._number(least)]))

    def _number(self, value: float) -> ir.Value:
        key = ("number", value)
        if key not in self.made:
            array = self.emitter.weight(np.asarray(value), "number")
            self.made[key] = array
        return self.made[key]

    def _made(self, kind: str, inputs: Sequence[ir.Value], **attributes: int) -> ir.Value:
        key = (kind, *inputs, *attributes.items())
        if key not in self.made:
            self.made[key] = self.emitter.op(kind, inputs, "", **attributes)
        return self.made[key]

    def _windows(self, mask: ir.Value, kind: str, windows: Windowed) -> ir.Value:
        """A pool over windows; they may begin inside of the grid: negative pads cut."""
        key = ("windows", mask, kind, windows)
        if key not in self.made:
            self.made[key] = self._pooled(mask, kind, windows)
        return self.made[key]

    def _pooled(self, mask: ir.Value, kind: str, windows: Windowed) -> ir.Value:
        reach = [
            (count - 1) * stride + extent
            for count, stride, extent in zip(
                windows.outputs, windows.strides, windows.extents, strict=True
            )
        ]
        before = windows.pads
        after = [r - n - b for r, n, b in zip(reach, windows.size, before, strict=True)]
        padded = any((*before, *after))
        if padded:
            pads = self.emitter.integers((0, 0, *before, 0, 0, *after), "pads")
            mask = self.emitter.op("Pad", [mask, pads])
        if windows.kernel == windows.strides == (1, 1):
            return mask
        if padded:
            # ONNX Runtime would make the zeros pads of the pool: which that leaves out, or refuses.
            mask = self.emitter.op("Relu", [mask])
        shape = {"kernel_shape": windows.kernel, "strides": windows.strides}
        if kind == "MaxPool":
            shape["dilations"] = windows.dilations
        return self.emitter.op(kind, [mask], "", **shape)

    def _spread(self, mask: ir.Value, strides: Pair) -> ir.Value:
        """Zeros between the places, as many as a stride leaps."""
        if strides == (1, 1):
            return mask
        key = ("spread", mask, strides)
        if key not in self.made:
            emitter, ints = self.emitter, self.emitter.integers
            apart = emitter.op("Unsqueeze", [mask, ints((3, 5), "axes")])
            pads = (0,) * 9 + (strides[0] - 1, 0, strides[1] - 1)
            wide = emitter.op("Pad", [apart, ints(pads, "pads")])
            shape = emitter.op("Shape", [mask])
            scale = emitter.op("Mul", [shape, ints((1, 1, *strides), "strides")])
            self.made[key] = emitter.op("Reshape", [wide, scale])
        return self.made[key]
