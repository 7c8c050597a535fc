"""Matrix products and reductions over axes."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from mlcnn.graph.operators.spec import Kernel, NodeSpec, Operator

__all__ = ["OPERATORS"]

Axes = tuple[int, ...]
Reduction = Callable[[Tensor, Axes, bool], Tensor]


def _gemm(
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    *,
    alpha: float,
    beta: float,
    transpose_a: bool,
    transpose_b: bool,
) -> Tensor:
    product = (a.mT if transpose_a else a) @ (b.mT if transpose_b else b)
    if alpha != 1:
        product = alpha * product
    if c is None:
        return product
    return product + (c if beta == 1 else beta * c)


def _gemm_kernel(spec: NodeSpec) -> Kernel:
    return partial(
        _gemm,
        alpha=spec.real("alpha", 1.0),
        beta=spec.real("beta", 1.0),
        transpose_a=bool(spec.integer("transA", 0)),
        transpose_b=bool(spec.integer("transB", 0)),
    )


def _einsum(*inputs: Tensor, equation: str) -> Tensor:
    return torch.einsum(equation, *inputs)


def _einsum_kernel(spec: NodeSpec) -> Kernel:
    return partial(_einsum, equation=spec.text("equation", "").replace(" ", ""))


def _reduced(
    x: Tensor, axes: Axes | None = None, *, reduction: Reduction, keep: bool, empty_is_noop: bool
) -> Tensor:
    if not axes:
        if empty_is_noop:
            return x
        axes = tuple(range(x.ndim))
    return reduction(x, axes, keep) if axes else x


def _reduce(reduction: Reduction) -> Operator:
    """A reduction whose axes are an attribute (older opsets) or the second input."""

    def build(spec: NodeSpec) -> Kernel:
        kernel = partial(
            _reduced,
            reduction=reduction,
            keep=bool(spec.integer("keepdims", 1)),
            empty_is_noop=bool(spec.integer("noop_with_empty_axes", 0)),
        )
        axes = spec.integers("axes")
        return kernel if axes is None else partial(kernel, axes=axes)

    return Operator(build, frozenset({1}))


def _sum(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    return x.sum(axes, keepdim=keep, dtype=x.dtype)


def _mean(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    return x.mean(axes, keepdim=keep)


def _product(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    for axis in sorted((axis % x.ndim for axis in axes), reverse=True):
        x = x.prod(axis, keepdim=keep, dtype=x.dtype)
    return x


def _absolute_sum(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    return _sum(x.abs(), axes, keep)


def _square_sum(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    return _sum(x * x, axes, keep)


def _euclidean(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    return _square_sum(x, axes, keep).sqrt()


def _log_sum(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    return _sum(x, axes, keep).log()


def _log_sum_exp(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    return torch.logsumexp(x, axes, keepdim=keep)


def _maximum(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    return x.amax(axes, keepdim=keep)


def _minimum(x: Tensor, axes: Axes, keep: bool) -> Tensor:
    return x.amin(axes, keepdim=keep)


def _extreme_index(
    x: Tensor, *, find: Callable[..., Tensor], axis: int, keep: bool, last: bool
) -> Tensor:
    if last:
        return x.shape[axis] - 1 - find(x.flip(axis), axis, keepdim=keep)
    return find(x, axis, keepdim=keep)


def _index_of(find: Callable[..., Tensor]) -> Operator:
    def build(spec: NodeSpec) -> Kernel:
        return partial(
            _extreme_index,
            find=find,
            axis=spec.integer("axis", 0),
            keep=bool(spec.integer("keepdims", 1)),
            last=bool(spec.integer("select_last_index", 0)),
        )

    return Operator(build)


def _cumulative(x: Tensor, axis: int, *, exclusive: bool, backwards: bool) -> Tensor:
    ordered = x.flip(axis) if backwards else x
    sums = ordered.cumsum(axis, dtype=x.dtype)
    if exclusive:
        sums = sums - ordered
    return sums.flip(axis) if backwards else sums


def _cumulative_sum(spec: NodeSpec) -> Kernel:
    exclusive, backwards = bool(spec.integer("exclusive", 0)), bool(spec.integer("reverse", 0))
    return partial(_cumulative, exclusive=exclusive, backwards=backwards)


OPERATORS: dict[str, Operator] = {
    "Gemm": Operator(_gemm_kernel),
    "MatMul": Operator(lambda _: torch.matmul),
    "Einsum": Operator(_einsum_kernel),
    "ReduceSum": _reduce(_sum),
    "ReduceMean": _reduce(_mean),
    "ReduceProd": _reduce(_product),
    "ReduceMax": _reduce(_maximum),
    "ReduceMin": _reduce(_minimum),
    "ReduceL1": _reduce(_absolute_sum),
    "ReduceL2": _reduce(_euclidean),
    "ReduceSumSquare": _reduce(_square_sum),
    "ReduceLogSum": _reduce(_log_sum),
    "ReduceLogSumExp": _reduce(_log_sum_exp),
    "ArgMax": _index_of(torch.argmax),
    "ArgMin": _index_of(torch.argmin),
    "CumSum": Operator(_cumulative_sum, frozenset({1})),
}
