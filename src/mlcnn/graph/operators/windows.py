"""Convolutions and pools over any number of spatial axes.

How many windows a pool has: see ``mlcnn.graph.windows``. An average divides by the
number of positions of the window that lie in the input, or, with ``count_include_pad``, in the
input and its padding (never by positions that only ``ceil_mode`` adds).
"""

from dataclasses import dataclass, replace
from functools import partial, reduce
from math import prod

import onnx_ir as ir
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

from mlcnn.graph.operators.spec import Kernel, NodeSpec, Operator
from mlcnn.graph.windows import conv_outputs, pool_outputs, same_pads

__all__ = [
    "OPERATORS",
    "Windows",
    "conv_windows",
    "flat_pads",
    "pool_windows",
    "torch_takes",
    "windows_of",
]

Ints = tuple[int, ...]

_AVERAGE = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}


@dataclass(frozen=True, slots=True)
class Windows:
    """Where the windows of a convolution or pool lie, per spatial axis.

    Attributes:
        kernel: window sizes; empty where only the weight knows them.
        strides: steps between windows.
        dilations: steps between the positions of a window.
        before: padding in front.
        after: padding behind.
        auto_pad: ``NOTSET``, ``VALID``, ``SAME_UPPER`` or ``SAME_LOWER``; the last two find
            the padding from the input's size.
        ceil_mode: keep a last, partial window.
        is_pool: whether they are a pool's, which round and pad by rules of their own.
    """

    kernel: Ints
    strides: Ints
    dilations: Ints
    before: Ints
    after: Ints
    auto_pad: str = "NOTSET"
    ceil_mode: bool = False
    is_pool: bool = False

    @property
    def same(self) -> bool:
        """Whether the padding depends on the input's size."""
        return self.auto_pad.startswith("SAME")

    @property
    def symmetric(self) -> bool:
        """Whether the padding is known and the same on both sides."""
        return not self.same and self.before == self.after

    def extents(self) -> Ints:
        """Positions from a window's first to its last, per axis."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    def fitted(self) -> Ints:
        """Positions of a window that ``auto_pad`` makes room for, per axis.

        A pool is padded as if it had no dilation, and loses outputs by that.
        """
        return self.kernel if self.is_pool else self.extents()

    def pads(self, sizes: Ints) -> tuple[Ints, Ints]:
        """(before, after) for an input of spatial ``sizes``."""
        if not self.same:
            return self.before, self.after
        pads = [
            same_pads(size, kernel, stride, self.auto_pad, crops=self.is_pool)
            for size, kernel, stride in zip(sizes, self.fitted(), self.strides, strict=True)
        ]
        return tuple(before for before, _ in pads), tuple(after for _, after in pads)

    def counts(self, sizes: Ints) -> Ints:
        """Number of windows per axis over an input of spatial ``sizes``."""
        axes = zip(sizes, self.extents(), self.strides, *self.pads(sizes), strict=True)
        if self.is_pool:
            return tuple(pool_outputs(*axis, ceil_mode=self.ceil_mode) for axis in axes)
        return tuple(conv_outputs(*axis) for axis in axes)

    def reach(self, sizes: Ints) -> Ints:
        """How far behind the input the last window ends, per axis; negative: before its end."""
        before, _ = self.pads(sizes)
        axes = zip(self.counts(sizes), self.strides, self.extents(), sizes, before, strict=True)
        return tuple(
            (count - 1) * stride + extent - size - start
            for count, stride, extent, size, start in axes
        )

    def along(self, axis: int) -> "Windows":
        """The windows of one axis alone."""
        return replace(
            self,
            kernel=(self.kernel[axis],),
            strides=(self.strides[axis],),
            dilations=(self.dilations[axis],),
            before=(self.before[axis],),
            after=(self.after[axis],),
        )


def _windows(spec: NodeSpec, kernel: Ints, *, is_pool: bool) -> Windows:
    rank = len(kernel)
    auto_pad = spec.text("auto_pad", "NOTSET")
    pads = spec.integers("pads") if auto_pad == "NOTSET" else None
    pads = pads or (0,) * (2 * rank)
    return Windows(
        kernel=kernel,
        strides=spec.integers("strides") or (1,) * rank,
        dilations=spec.integers("dilations") or (1,) * rank,
        before=pads[:rank],
        after=pads[rank:],
        auto_pad=auto_pad,
        ceil_mode=bool(spec.integer("ceil_mode", 0)),
        is_pool=is_pool,
    )


def pool_windows(spec: NodeSpec) -> Windows:
    """The windows of an ``AveragePool``, ``LpPool`` or ``MaxPool`` node."""
    kernel = spec.integers("kernel_shape")
    if kernel is None:
        raise spec.unsupported("a pool without kernel_shape")
    return _windows(spec, kernel, is_pool=True)


def conv_windows(spec: NodeSpec, kernel: Ints) -> Windows:
    """The windows of a ``Conv`` node whose weight has spatial sizes ``kernel``."""
    return _windows(spec, kernel, is_pool=False)


def windows_of(node: ir.Node, kernel: Ints | None = None) -> Windows:
    """The windows of a convolution or pool, as its attributes say.

    Args:
        node: the node; no attribute refers to one of a function.
        kernel: the spatial sizes of a convolution's weight; None for a pool.

    Raises:
        UnsupportedError: a pool without ``kernel_shape``.
    """
    spec = NodeSpec(node.name or "", node.op_type, 0, node.domain, attributes=node.attributes)
    return pool_windows(spec) if kernel is None else conv_windows(spec, kernel)


def flat_pads(before: Ints, after: Ints) -> Ints:
    """Pads as ``F.pad`` takes them: pairs, last axis first."""
    pairs = zip(reversed(before), reversed(after), strict=True)
    return tuple(size for pair in pairs for size in pair)


def _conv(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, spec: NodeSpec) -> Tensor:
    windows = conv_windows(spec, tuple(weight.shape[2:]))
    before, after = windows.pads(tuple(x.shape[2:]))
    if before != after:
        x = F.pad(x, flat_pads(before, after))
        before = (0,) * len(before)
    groups, rank = spec.integer("group", 1), len(before)
    return torch.convolution(
        x, weight, bias, windows.strides, before, windows.dilations, False, (0,) * rank, groups
    )


def _conv_kernel(spec: NodeSpec) -> Kernel:
    return partial(_conv, spec=spec)


def _conv_transpose(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, spec: NodeSpec
) -> Tensor:
    windows = conv_windows(spec, tuple(weight.shape[2:]))
    rank = x.ndim - 2
    extra = spec.integers("output_padding") or (0,) * rank
    result = torch.convolution(
        x,
        weight,
        bias,
        windows.strides,
        (0,) * rank,
        windows.dilations,
        True,
        extra,
        spec.integer("group", 1),
    )
    before, after = _transpose_crop(spec, windows, tuple(x.shape[2:]), tuple(result.shape[2:]))
    for axis in range(rank):
        size = result.shape[axis + 2] - before[axis] - after[axis]
        result = result.narrow(axis + 2, before[axis], size)
    return result


def _transpose_crop(spec: NodeSpec, windows: Windows, sizes: Ints, full: Ints) -> tuple[Ints, Ints]:
    """How much of a transposed convolution's ``full`` output is cut off in front and behind."""
    wanted = spec.integers("output_shape")
    if wanted is None and windows.same:
        wanted = tuple(size * step for size, step in zip(sizes, windows.strides, strict=True))
    if wanted is None:
        return windows.before, windows.after
    totals = [max(a - b, 0) for a, b in zip(full, wanted[-len(full) :], strict=True)]
    small = tuple(total // 2 for total in totals)
    large = tuple(total - total // 2 for total in totals)
    return (small, large) if windows.auto_pad == "SAME_UPPER" else (large, small)


def _conv_transpose_kernel(spec: NodeSpec) -> Kernel:
    return partial(_conv_transpose, spec=spec)


def _padded(x: Tensor, windows: Windows, value: float) -> Tensor:
    """``x`` padded by ``value``, the end as far as the last window reaches."""
    sizes = tuple(x.shape[2:])
    before, _ = windows.pads(sizes)
    after = windows.reach(sizes)
    return F.pad(x, flat_pads(before, after), value=value)


def _window_sums(x: Tensor, axis: int, kernel: int, stride: int, dilation: int) -> Tensor:
    """Sums over the windows along one axis, where every window is whole."""
    count = (x.shape[axis] - (kernel - 1) * dilation - 1) // stride + 1
    length = (count - 1) * stride + 1
    parts = [x.narrow(axis, i * dilation, length) for i in range(kernel)]
    if stride > 1:
        step = (slice(None),) * axis + (slice(None, None, stride),)
        parts = [part[step] for part in parts]
    return reduce(torch.add, parts)


def _divisors(like: Tensor, windows: Windows, *, include_pad: bool) -> Tensor:
    """Positions that count, per output position; shape of the output's spatial axes."""
    sizes = tuple(like.shape[2:])
    before, after = windows.pads(sizes)
    extents, counts = windows.extents(), windows.counts(sizes)
    result = like.new_ones(())
    for axis, size in enumerate(sizes):
        stride, dilation = windows.strides[axis], windows.dilations[axis]
        marks = like.new_zeros((counts[axis] - 1) * stride + extents[axis])
        stop = before[axis] + size
        if include_pad:
            marks[: stop + after[axis]] = 1
        else:
            marks[max(before[axis], 0) : stop] = 1
        along = _window_sums(marks, 0, windows.kernel[axis], stride, dilation)
        result = result.unsqueeze(-1) * along
    return result.clamp(min=1)


def _are_whole(windows: Windows, sizes: Ints) -> bool:
    """Whether all windows lie in the input and its padding."""
    _, after = windows.pads(sizes)
    return all(reach <= pad for reach, pad in zip(windows.reach(sizes), after, strict=True))


def _average_pool(x: Tensor, *, windows: Windows, include_pad: bool) -> Tensor:
    result = _padded(x, windows, 0.0)
    for axis, kernel in enumerate(windows.kernel):
        stride, dilation = windows.strides[axis], windows.dilations[axis]
        result = _window_sums(result, axis + 2, kernel, stride, dilation)
    if include_pad and _are_whole(windows, tuple(x.shape[2:])):
        return result / prod(windows.kernel)
    return result / _divisors(x, windows, include_pad=include_pad)


def _average_of_padded(x: Tensor, *, pool: Kernel, pads: Ints) -> Tensor | tuple[Tensor, ...]:
    return pool(F.pad(x, pads))


def _average_of_fitting(
    x: Tensor, *, windows: Windows, include_pad: bool, pool: Kernel
) -> Tensor | tuple[Tensor, ...]:
    """Torch's own pool, which refuses a window that is larger than the image."""
    if _fits(x, windows):
        return pool(x)
    return _average_pool(x, windows=windows, include_pad=include_pad)


def _fits(x: Tensor, windows: Windows) -> bool:
    """Whether a window is no larger than the image and its padding."""
    sizes = zip(x.shape[2:], windows.extents(), windows.before, windows.after, strict=True)
    return all(size + before + after >= extent for size, extent, before, after in sizes)


def torch_takes(windows: Windows) -> bool:
    """Whether torch's own pools have this geometry: it allows half a window of padding."""
    small = all(2 * pad <= k for pad, k in zip(windows.before, windows.kernel, strict=True))
    return windows.symmetric and small and len(windows.kernel) in _AVERAGE


def _average_pool_kernel(spec: NodeSpec) -> Kernel:
    windows = pool_windows(spec)
    include_pad = bool(spec.integer("count_include_pad", 0))
    if torch_takes(windows) and set(windows.dilations) == {1}:
        pool = partial(
            _AVERAGE[len(windows.kernel)],
            kernel_size=windows.kernel,
            stride=windows.strides,
            padding=windows.before,
            ceil_mode=windows.ceil_mode,
            count_include_pad=include_pad,
        )
        return partial(_average_of_fitting, windows=windows, include_pad=include_pad, pool=pool)
    plain = not windows.ceil_mode and not windows.same and set(windows.dilations) == {1}
    if include_pad and plain and len(windows.kernel) in _AVERAGE:
        pool = partial(
            _AVERAGE[len(windows.kernel)], kernel_size=windows.kernel, stride=windows.strides
        )
        pads = flat_pads(windows.before, windows.after)
        padded = partial(_average_of_padded, pool=pool, pads=pads)
        return partial(_average_of_fitting, windows=windows, include_pad=True, pool=padded)
    return partial(_average_pool, windows=windows, include_pad=include_pad)


def _max_pool(x: Tensor, *, windows: Windows) -> Tensor:
    pool = _MAX[len(windows.kernel)]
    lowest = float("-inf") if x.is_floating_point() else torch.iinfo(x.dtype).min
    padded = _padded(x, windows, lowest)
    return pool(padded, windows.kernel, windows.strides, 0, windows.dilations)


def _max_of_fitting(x: Tensor, *, windows: Windows, pool: Kernel) -> Tensor | tuple[Tensor, ...]:
    """Torch's own pool, which refuses a window that is larger than the image."""
    return pool(x) if _fits(x, windows) else _max_pool(x, windows=windows)


def _max_pool_kernel(spec: NodeSpec) -> Kernel:
    spec.require_single_output()
    windows = pool_windows(spec)
    if len(windows.kernel) not in _MAX:
        raise spec.unsupported(f"a max pool over {len(windows.kernel)} axes")
    if torch_takes(windows):
        pool = partial(
            _MAX[len(windows.kernel)],
            kernel_size=windows.kernel,
            stride=windows.strides,
            padding=windows.before,
            dilation=windows.dilations,
            ceil_mode=windows.ceil_mode,
        )
        return partial(_max_of_fitting, windows=windows, pool=pool)
    return partial(_max_pool, windows=windows)


def _spatial(x: Tensor) -> Ints:
    return tuple(range(2, x.ndim))


def _global_average(x: Tensor) -> Tensor:
    return x.mean(_spatial(x), keepdim=True)


def _global_max(x: Tensor) -> Tensor:
    return x.amax(_spatial(x), keepdim=True)


def _lp_pool(x: Tensor, *, windows: Windows, order: int) -> Tensor:
    powers = _average_pool(x.abs() ** order, windows=windows, include_pad=True)
    return (powers * _divisors(x, windows, include_pad=True)) ** (1 / order)


def _lp_pool_kernel(spec: NodeSpec) -> Kernel:
    return partial(_lp_pool, windows=pool_windows(spec), order=spec.integer("p", 2))


def _local_response(x: Tensor, *, size: int, alpha: float, beta: float, bias: float) -> Tensor:
    before = (size - 1) // 2
    squares = F.pad(x * x, (0, 0) * (x.ndim - 2) + (before, size - 1 - before))
    sums = squares.unfold(1, size, 1).sum(-1)
    return x / (bias + alpha / size * sums) ** beta


def _local_response_kernel(spec: NodeSpec) -> Kernel:
    return partial(
        _local_response,
        size=spec.integer("size", 1),
        alpha=spec.real("alpha", 1e-4),
        beta=spec.real("beta", 0.75),
        bias=spec.real("bias", 1.0),
    )


OPERATORS: dict[str, Operator] = {
    "Conv": Operator(_conv_kernel),
    "ConvTranspose": Operator(_conv_transpose_kernel),
    "AveragePool": Operator(_average_pool_kernel),
    "MaxPool": Operator(_max_pool_kernel),
    "LpPool": Operator(_lp_pool_kernel),
    "GlobalAveragePool": Operator(lambda _: _global_average),
    "GlobalMaxPool": Operator(lambda _: _global_max),
    "LRN": Operator(_local_response_kernel),
}
