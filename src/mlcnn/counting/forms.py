"""What each form of a fused layer computes, operator by operator as it is emitted."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from mlcnn.counting.operations import Operations
from mlcnn.counting.reuse import original
from mlcnn.workload import ConvLayer, Layer, Pool

__all__ = ["FORMS", "executed_operations", "form_operations"]


@dataclass(frozen=True, slots=True)
class _Axis:
    """One axis of a fused layer.

    Attributes:
        size: inputs.
        kernel: taps of the convolution.
        window: convolution outputs that one pooled output averages.
        stride: of the convolution.
        dilation: of the convolution.
        step: inputs between two pooled outputs.
        before: zeros in front of the input.
        after: zeros behind it.
        outputs: pooled outputs.
    """

    size: int
    kernel: int
    window: int
    stride: int
    dilation: int
    step: int
    before: int
    after: int
    outputs: int

    @property
    def boxes(self) -> int:
        """Windows of inputs that form ``box`` averages: all that fit, needed or not.

        It pads by no more than a window reaches.
        """
        reach = (self.window - 1) * self.stride
        return self.size + min(self.before, reach) + min(self.after, reach) - reach

    @property
    def taps(self) -> int:
        """Taps of the expanded kernel, without those at its ends that only meet padding.

        The kernel's taps lie d apart and the window's outputs S apart, so the merged kernel has
        a tap at each multiple of gcd(d, S): ((K-1)*d + (k-1)*S) / gcd + 1 of them ([derived]).
        """
        dilation = self.dilation if self.kernel > 1 else 0
        apart = math.gcd(dilation, self.stride if self.window > 1 else 0) or 1
        reach = (self.kernel - 1) * self.dilation + (self.window - 1) * self.stride
        taps = reach // apart + 1
        starts = [output * self.step - self.before for output in range(self.outputs)]
        used = [
            tap
            for tap in range(taps)
            if any(0 <= start + tap * apart < self.size for start in starts)
        ]
        if not used:
            return taps
        lead = min(used[0], self.before // apart)
        return taps - lead - min(taps - 1 - used[-1], self.after // apart)


def _axis(layer: ConvLayer, pool: Pool, axis: int) -> _Axis:
    stride = layer.strides[axis]
    return _Axis(
        size=(layer.H, layer.W)[axis],
        kernel=(layer.R, layer.S)[axis],
        window=pool.kernel[axis],
        stride=stride,
        dilation=layer.dilations[axis],
        step=stride * pool.strides[axis],
        before=layer.pads[axis] + pool.pads[axis] * stride,
        after=layer.pads[axis + 2] + pool.pads[axis + 2] * stride,
        outputs=layer.pooled[axis],
    )


def _products(layer: ConvLayer, outputs: int, terms: int) -> Operations:
    """``outputs`` sums of ``terms`` products each, for every image."""
    return layer.N * Operations(outputs * terms, outputs * (terms - 1))


def _convolution(layer: ConvLayer) -> Operations:
    """The convolution behind the means: the original weights at the pooled outputs."""
    terms = layer.C // layer.G * layer.kernel_area
    return _products(layer, layer.K * math.prod(layer.pooled), terms)


def _box(layer: ConvLayer, pool: Pool) -> Operations:
    axes = [_axis(layer, pool, axis) for axis in (0, 1)]
    if any(axis.stride > 1 and axis.window > 1 for axis in axes):
        return _box_depthwise(layer, pool)
    boxes = layer.C * math.prod(axis.boxes for axis in axes)
    means = Operations(additions=boxes * (math.prod(pool.kernel) - 1))
    return layer.N * means + _convolution(layer)


def _box_depthwise(layer: ConvLayer, pool: Pool) -> Operations:
    boxes = layer.C * math.prod(_axis(layer, pool, axis).boxes for axis in (0, 1))
    return _products(layer, boxes, math.prod(pool.kernel)) + _convolution(layer)


def _expanded(layer: ConvLayer, pool: Pool) -> Operations:
    taps = math.prod(_axis(layer, pool, axis).taps for axis in (0, 1))
    outputs = layer.K * math.prod(layer.pooled)
    return _products(layer, outputs, layer.C // layer.G * taps)


def _pool_first(layer: ConvLayer, pool: Pool) -> Operations:
    pooled = layer.C * math.prod(layer.pooled)
    means = Operations(additions=pooled * (math.prod(pool.kernel) - 1))
    return layer.N * means + _convolution(layer)


def _matvec(layer: ConvLayer, pool: Pool) -> Operations:
    inputs = layer.H * layer.W
    if layer.kernel_area == 1 and pool.kernel == (layer.H, layer.W):
        return _pool_first(layer, pool)
    if inputs <= layer.kernel_area:
        return _products(layer, layer.K, layer.C * inputs)
    return _matmul(layer, pool)


def _matmul(layer: ConvLayer, _: Pool) -> Operations:
    means = layer.C * layer.kernel_area * math.prod(layer.pooled)
    return _products(layer, means, layer.H * layer.W) + _convolution(layer)


FORMS: dict[str, Callable[[ConvLayer, Pool], Operations]] = {
    "box": _box,
    "box-depthwise": _box_depthwise,
    "expanded": _expanded,
    "pool-first": _pool_first,
    "matvec": _matvec,
    "matmul": _matmul,
}
"""Form -> its count."""


def form_operations(layer: ConvLayer, form: str) -> Operations:
    """Multiplications and additions of a fused layer in the form that was chosen for it.

    This is what the form's operators compute, taken at their definitions: a mean over k*k'
    values takes k*k' - 1 additions at every position of its map, and a mean by a convolution or
    a matrix product multiplies. So it can exceed ``Reuse.SHARED``, what the arithmetic needs.

    The count is exact where every pool window is whole. Behind a pool with padding or partial
    windows it takes them as whole, as everywhere in ``mlcnn.counting``; the operators emitted
    there work in pieces, which overlap at their seams and have smaller windows.

    Args:
        layer: the layer; without a pool it counts as it is, whatever the form.
        form: a key of ``FORMS``.

    Raises:
        ValueError: ``form`` is not known.
    """
    if form not in FORMS:
        msg = f"layer {layer.name}: no count for form {form!r}, only for {', '.join(FORMS)}"
        raise ValueError(msg)
    if layer.pool is None:
        return original(layer)
    return FORMS[form](layer, layer.pool)


def executed_operations(layer: Layer) -> Operations:
    """What a network executes for a layer: as its form counts, else as its operators stand there.

    Args:
        layer: as ``mlcnn.workload.read`` gives it.
    """
    if layer.form in FORMS:
        return form_operations(layer.nest, layer.form or "")
    return sum((original(part) for part in layer.parts), Operations())
