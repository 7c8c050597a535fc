"""Operators that move, cut and join values, and those that make shapes."""

from functools import partial
from math import prod

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

from mlcnn.graph.operators.spec import Kernel, NodeSpec, Operator

__all__ = ["OPERATORS"]

Ints = tuple[int, ...]


def _concat(*inputs: Tensor, axis: int) -> Tensor:
    return torch.cat(inputs, axis)


def _concat_kernel(spec: NodeSpec) -> Kernel:
    return partial(_concat, axis=spec.integer("axis", 0))


def _split(x: Tensor, sizes: Ints | None = None, *, axis: int, parts: int) -> tuple[Tensor, ...]:
    if sizes is None:
        size = x.shape[axis]
        step = -(-size // parts)
        sizes = tuple(min(step, size - start) for start in range(0, size, step))
    return torch.split(x, list(sizes), axis)


def _split_kernel(spec: NodeSpec) -> Kernel:
    parts = spec.integer("num_outputs", len(spec.outputs))
    kernel = partial(_split, axis=spec.integer("axis", 0), parts=parts)
    sizes = spec.integers("split")
    return kernel if sizes is None else partial(kernel, sizes=sizes)


def _slice(
    x: Tensor, starts: Ints, ends: Ints, axes: Ints | None = None, steps: Ints | None = None
) -> Tensor:
    axes = tuple(range(len(starts))) if axes is None else axes
    steps = (1,) * len(starts) if steps is None else steps
    index = [slice(None)] * x.ndim
    backwards: list[tuple[int, range]] = []
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step > 0:
            index[axis] = slice(start, end, step)
        else:
            backwards.append((axis, _backward_range(start, end, step, x.shape[axis])))
    x = x[tuple(index)]
    for axis, picked in backwards:
        positions = torch.tensor(picked, dtype=torch.int64, device=x.device)
        x = x.index_select(axis, positions)
    return x


def _backward_range(start: int, end: int, step: int, size: int) -> range:
    """Positions of a slice of negative step: ONNX clamps its bounds not quite as Python does."""
    start = start + size if start < 0 else start
    end = end + size if end < 0 else end
    return range(min(max(start, 0), size - 1), min(max(end, -1), size - 1), step)


def _pad_index(size: int, before: int, after: int, mode: str) -> Tensor:
    """Which position each padded position copies, for the modes that copy."""
    position = torch.arange(-before, size + after)
    if mode == "edge":
        return position.clamp(0, size - 1)
    if mode == "wrap":
        return position % size
    if size == 1:
        return torch.zeros_like(position)
    period = 2 * (size - 1)
    position = position % period
    return torch.minimum(position, period - position)


def _pad(
    x: Tensor,
    pads: Ints,
    value: float | Tensor | None = None,
    axes: Ints | None = None,
    *,
    mode: str,
) -> Tensor:
    axes = tuple(range(x.ndim)) if axes is None else tuple(axis % x.ndim for axis in axes)
    half = len(pads) // 2
    before, after = (
        dict(zip(axes, pads[:half], strict=True)),
        dict(zip(axes, pads[half:], strict=True)),
    )
    if mode == "constant":
        flat = [
            size
            for axis in reversed(range(min(axes, default=0), x.ndim))
            for size in (before.get(axis, 0), after.get(axis, 0))
        ]
        return F.pad(x, flat, value=0.0 if value is None else float(value))
    for axis in axes:
        if before[axis] or after[axis]:
            index = _pad_index(x.shape[axis], before[axis], after[axis], mode)
            x = x.index_select(axis, index.to(x.device))
    return x


def _pad_kernel(spec: NodeSpec) -> Kernel:
    mode = spec.text("mode", "constant")
    if mode not in {"constant", "edge", "reflect", "wrap"}:
        raise spec.unsupported(f"mode={mode!r}")
    return partial(_pad, mode=mode)


def _reshape(x: Tensor, shape: Ints, *, allow_zero: bool) -> Tensor:
    if not allow_zero:
        shape = tuple(x.shape[i] if size == 0 else size for i, size in enumerate(shape))
    return x.reshape(shape)


def _reshape_kernel(spec: NodeSpec) -> Kernel:
    return partial(_reshape, allow_zero=bool(spec.integer("allowzero", 0)))


def _flatten(x: Tensor, *, axis: int) -> Tensor:
    axis = axis + x.ndim if axis < 0 else axis
    return x.reshape(prod(x.shape[:axis]), prod(x.shape[axis:]))


def _flatten_kernel(spec: NodeSpec) -> Kernel:
    return partial(_flatten, axis=spec.integer("axis", 1))


def _squeeze(x: Tensor, axes: Ints | None = None) -> Tensor:
    return x.squeeze() if axes is None else x.squeeze(axes)


def _unsqueeze(x: Tensor, axes: Ints | int) -> Tensor:
    axes = (axes,) if isinstance(axes, int) else axes
    rank = x.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


def _axes_kernel(kernel: Kernel) -> Operator:
    """Axes are an attribute (older opsets) or the second input."""

    def build(spec: NodeSpec) -> Kernel:
        axes = spec.integers("axes")
        return kernel if axes is None else partial(kernel, axes=axes)

    return Operator(build, frozenset({1}))


def _transpose(x: Tensor, *, order: Ints | None) -> Tensor:
    # Rows stay in order in memory: a convolution behind a transposed view would run channels-last
    # from there on, twice as slowly where maps are small.
    return x.permute(tuple(reversed(range(x.ndim))) if order is None else order).contiguous()


def _transpose_kernel(spec: NodeSpec) -> Kernel:
    return partial(_transpose, order=spec.integers("perm"))


def _expand(x: Tensor, shape: Ints) -> Tensor:
    if -1 in shape:
        return x.expand(shape)
    return x.expand(torch.broadcast_shapes(x.shape, shape))


def _tile(x: Tensor, repeats: Ints) -> Tensor:
    return x.repeat(repeats)


def _shape(x: Tensor, *, start: int, end: int | None) -> Tensor:
    return torch.tensor(x.shape[start:end], dtype=torch.int64, device=x.device)


def _shape_kernel(spec: NodeSpec) -> Kernel:
    end = spec.integer("end", 0) if "end" in spec.attributes else None
    return partial(_shape, start=spec.integer("start", 0), end=end)


def _size(x: Tensor) -> Tensor:
    return torch.tensor(x.numel(), dtype=torch.int64, device=x.device)


def _gather(x: Tensor, indices: Tensor, *, axis: int) -> Tensor:
    axis = axis % x.ndim
    picked = x.index_select(axis, indices.reshape(-1).long() % x.shape[axis])
    return picked.reshape((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


def _gather_kernel(spec: NodeSpec) -> Kernel:
    return partial(_gather, axis=spec.integer("axis", 0))


def _gather_elements(x: Tensor, indices: Tensor, *, axis: int) -> Tensor:
    return x.gather(axis, indices.long() % x.shape[axis])


def _gather_elements_kernel(spec: NodeSpec) -> Kernel:
    return partial(_gather_elements, axis=spec.integer("axis", 0))


def _depth_to_space(x: Tensor, *, block: int, column_first: bool) -> Tensor:
    if column_first:
        return F.pixel_shuffle(x, block)
    batch, depth, height, width = x.shape
    blocks = x.reshape(batch, block, block, depth // block**2, height, width)
    return blocks.permute(0, 3, 4, 1, 5, 2).reshape(batch, -1, height * block, width * block)


def _depth_to_space_kernel(spec: NodeSpec) -> Kernel:
    column_first = spec.text("mode", "DCR") == "CRD"
    return partial(_depth_to_space, block=spec.integer("blocksize", 1), column_first=column_first)


def _space_to_depth(x: Tensor, *, block: int) -> Tensor:
    batch, depth, height, width = x.shape
    blocks = x.reshape(batch, depth, height // block, block, width // block, block)
    moved = blocks.permute(0, 3, 5, 1, 2, 4)
    return moved.reshape(batch, depth * block**2, height // block, width // block)


def _space_to_depth_kernel(spec: NodeSpec) -> Kernel:
    return partial(_space_to_depth, block=spec.integer("blocksize", 1))


def _constant(*, value: Tensor) -> Tensor:
    return value


def _constant_kernel(spec: NodeSpec) -> Kernel:
    value = spec.tensor("value")
    if value is None:
        value = _plain_constant(spec)
    return partial(_constant, value=value)


def _plain_constant(spec: NodeSpec) -> Tensor:
    """A ``Constant`` given as number or list of numbers."""
    real = spec.float_dtype or torch.float32
    attributes = spec.attributes
    if "value_float" in attributes:
        return torch.tensor(attributes["value_float"].as_float(), dtype=real)
    if "value_floats" in attributes:
        return torch.tensor(attributes["value_floats"].as_floats(), dtype=real)
    if "value_int" in attributes:
        return torch.tensor(attributes["value_int"].as_int(), dtype=torch.int64)
    if "value_ints" in attributes:
        return torch.tensor(attributes["value_ints"].as_ints(), dtype=torch.int64)
    raise spec.unsupported(f"a constant given as {sorted(attributes)}")


def _constant_of_shape(shape: Ints, *, value: Tensor) -> Tensor:
    return value.reshape(()).expand(shape).clone()


def _constant_of_shape_kernel(spec: NodeSpec) -> Kernel:
    value = spec.tensor("value")
    if value is None:
        value = torch.tensor(0.0, dtype=spec.float_dtype or torch.float32)
    return partial(_constant_of_shape, value=value)


def _range(start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    first, last, step = start.item(), limit.item(), delta.item()
    return torch.arange(first, last, step, dtype=start.dtype, device=start.device)


def _non_zero(x: Tensor) -> Tensor:
    return x.nonzero().T


def _scatter(x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    result = x.clone()
    result[tuple(indices.unbind(-1))] = updates
    return result


def _scatter_kernel(spec: NodeSpec) -> Kernel:
    if (reduction := spec.text("reduction", "none")) != "none":
        raise spec.unsupported(f"reduction {reduction!r}")
    return _scatter


OPERATORS: dict[str, Operator] = {
    "Concat": Operator(_concat_kernel),
    "Split": Operator(_split_kernel, frozenset({1}), returns_tuple=True),
    "Slice": Operator(lambda _: _slice, frozenset({1, 2, 3, 4})),
    "Pad": Operator(_pad_kernel, frozenset({1, 2, 3})),
    "Reshape": Operator(_reshape_kernel, frozenset({1})),
    "Flatten": Operator(_flatten_kernel),
    "Squeeze": _axes_kernel(_squeeze),
    "Unsqueeze": _axes_kernel(_unsqueeze),
    "Transpose": Operator(_transpose_kernel),
    "Expand": Operator(lambda _: _expand, frozenset({1})),
    "Tile": Operator(lambda _: _tile, frozenset({1})),
    "Shape": Operator(_shape_kernel),
    "Size": Operator(lambda _: _size),
    "Gather": Operator(_gather_kernel),
    "NonZero": Operator(lambda _: _non_zero),
    "ScatterND": Operator(_scatter_kernel),
    "GatherElements": Operator(_gather_elements_kernel),
    "DepthToSpace": Operator(_depth_to_space_kernel),
    "SpaceToDepth": Operator(_space_to_depth_kernel),
    "Constant": Operator(_constant_kernel),
    "ConstantOfShape": Operator(_constant_of_shape_kernel, frozenset({0})),
    "Range": Operator(lambda _: _range),
}
