"""What each form of a fused layer computes."""

import math
from collections.abc import Callable

from mlcnn.counting.operations import Operations
from mlcnn.counting.reuse import Reuse, fused
from mlcnn.workload import ConvLayer, Pool

__all__ = ["FORMS", "form_operations"]


def _box(layer: ConvLayer) -> Operations:
    return fused(layer, Reuse.SHARED)


def _taps(layer: ConvLayer, pool: Pool, axis: int) -> int:
    """Taps of the expanded kernel along ``axis`` that meet an input.

    The kernel's taps lie d apart and the window's outputs S apart, so the merged kernel has one
    tap at each multiple of gcd(d, S): ((K-1)*d + (k-1)*S) / gcd + 1 of them ([derived]).
    """
    kernel, size = ((layer.R, layer.H), (layer.S, layer.W))[axis]
    window, stride = pool.kernel[axis], layer.strides[axis]
    dilation = layer.dilations[axis]
    reach = (kernel - 1) * dilation + (window - 1) * stride
    step = math.gcd(dilation if kernel > 1 else 0, stride if window > 1 else 0) or 1
    before = layer.pads[axis] + pool.pads[axis] * stride
    starts = [i * stride * pool.strides[axis] - before for i in range(layer.pooled[axis])]
    used = [
        tap
        for tap in range(reach // step + 1)
        if any(0 <= start + tap * step < size for start in starts)
    ]
    return used[-1] - used[0] + 1 if used else 0


def _expanded(layer: ConvLayer) -> Operations:
    if layer.pool is None:
        return fused(layer, Reuse.NONE)
    outputs = layer.N * layer.K * math.prod(layer.pooled)
    taps = _taps(layer, layer.pool, 0) * _taps(layer, layer.pool, 1)
    products = layer.C // layer.G * taps
    return Operations(outputs * products, outputs * max(products - 1, 0))


def _matvec(layer: ConvLayer) -> Operations:
    """Sums per kernel tap, or the weights spread over the input where that is no larger."""
    if layer.kernel_area > 1 and layer.kernel_area >= layer.H * layer.W:
        outputs, products = layer.N * layer.K, layer.C // layer.G * layer.H * layer.W
        return Operations(outputs * products, outputs * (products - 1))
    return fused(layer, Reuse.SHARED)


FORMS: dict[str, Callable[[ConvLayer], Operations]] = {
    "box": _box,
    "box-depthwise": _box,
    "expanded": _expanded,
    "pool-first": _box,
    "matvec": _matvec,
    "matmul": _box,
}
"""Form -> its count. ``box-depthwise``, ``pool-first`` and ``matmul`` have the sums of ``box``, each
window's once: what the arithmetic needs, however an engine forms them."""


def form_operations(layer: ConvLayer, form: str) -> Operations:
    """Multiplications and additions of a fused layer in the form that was chosen for it.

    Sums are counted as half and full additions, shared by all filters, as the arithmetic needs
    them; an engine may form them in another order. Windows on the border of a padded or partial
    pool count as whole ones, so the count is exact without them and an upper bound with them.

    Args:
        layer: the layer with its pool.
        form: a key of ``FORMS``.

    Raises:
        ValueError: ``form`` is not known.
    """
    if form not in FORMS:
        msg = f"layer {layer.name}: no count for form {form!r}, only for {', '.join(FORMS)}"
        raise ValueError(msg)
    return FORMS[form](layer)
