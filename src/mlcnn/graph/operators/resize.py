"""Resize: nearest, linear and cubic, one axis after the other."""

from dataclasses import dataclass
from functools import partial
from math import floor

import torch
from torch import Tensor

from mlcnn.graph.operators.spec import Kernel, NodeSpec, Operator

__all__ = ["OPERATORS"]

_COORDINATES = frozenset(
    {"half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric"}
)


@dataclass(frozen=True, slots=True)
class _Sampling:
    """How an output position is computed from input positions."""

    mode: str
    coordinates: str
    nearest: str
    cubic_coefficient: float
    exclude_outside: bool
    axes: tuple[int, ...] | None


def _positions(
    size: int, wanted: int, scale: float, coordinates: str, dtype: torch.dtype
) -> Tensor:
    """Where each of ``wanted`` output positions lies on the input axis."""
    index = torch.arange(wanted, dtype=dtype)
    if coordinates == "asymmetric":
        return index / scale
    if coordinates == "align_corners":
        return index * ((size - 1) / (wanted - 1)) if wanted > 1 else index * 0
    if coordinates == "pytorch_half_pixel" and wanted == 1:
        return index * 0
    offset = 0.0
    if coordinates == "half_pixel_symmetric":
        offset = size / 2 * (1 - wanted / (scale * size))
    return offset + (index + 0.5) / scale - 0.5


def _nearest_index(position: Tensor, rule: str) -> Tensor:
    if rule == "floor":
        return position.floor()
    if rule == "ceil":
        return position.ceil()
    if rule == "round_prefer_ceil":
        return (position + 0.5).floor()
    return (position - 0.5).ceil()


def _cubic_weights(fraction: Tensor, a: float) -> list[tuple[int, Tensor]]:
    """(offset, weight) of the four taps of cubic convolution [Keys 1981, Eq. 4]."""
    result: list[tuple[int, Tensor]] = []
    for offset in (-1, 0, 1, 2):
        d = (fraction - offset).abs()
        near = ((a + 2) * d - (a + 3)) * d * d + 1
        far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
        result.append((offset, near if offset in {0, 1} else far))
    return result


def _matrix(position: Tensor, size: int, sampling: _Sampling) -> Tensor:
    """Interpolation weights, shape (output positions, input positions)."""
    base = position.floor()
    fraction = position - base
    taps = [(0, 1 - fraction), (1, fraction)]
    if sampling.mode == "cubic":
        taps = _cubic_weights(fraction, sampling.cubic_coefficient)
    matrix = position.new_zeros(len(position), size)
    for offset, weight in taps:
        column = base.long() + offset
        if sampling.exclude_outside:
            weight = weight * ((column >= 0) & (column < size))  # noqa: PLW2901 - per tap
        matrix.scatter_add_(1, column.clamp(0, size - 1)[:, None], weight[:, None])
    return matrix / matrix.sum(1, keepdim=True) if sampling.exclude_outside else matrix


def _along(x: Tensor, axis: int, wanted: int, scale: float, sampling: _Sampling) -> Tensor:
    size = x.shape[axis]
    # Scales are float32 numbers: in a wider type 8 / 1.6 would round to 4, not to 5.
    dtype = torch.float32 if sampling.mode == "nearest" else torch.float64
    position = _positions(size, wanted, scale, sampling.coordinates, dtype)
    if sampling.mode == "nearest":
        index = _nearest_index(position, sampling.nearest).long().clamp(0, size - 1)
        return x.index_select(axis, index.to(x.device))
    matrix = _matrix(position, size, sampling).to(x)
    return (x.movedim(axis, -1) @ matrix.mT).movedim(-1, axis)


def _resize(
    x: Tensor,
    _roi: tuple[float, ...] | None = None,
    scales: tuple[float, ...] | None = None,
    sizes: tuple[int, ...] | None = None,
    *,
    sampling: _Sampling,
) -> Tensor:
    axes = tuple(range(x.ndim)) if sampling.axes is None else sampling.axes
    lengths = [x.shape[axis] for axis in axes]
    if not scales:
        wanted = tuple(sizes or lengths)
        scales = tuple(new / old for new, old in zip(wanted, lengths, strict=True))
    else:
        wanted = tuple(floor(old * scale) for old, scale in zip(lengths, scales, strict=True))
    for axis, new, scale in zip(axes, wanted, scales, strict=True):
        if scale != 1:
            x = _along(x, axis, new, scale, sampling)
    return x


def _resize_kernel(spec: NodeSpec) -> Kernel:
    mode = spec.text("mode", "nearest")
    coordinates = spec.text("coordinate_transformation_mode", "half_pixel")
    if coordinates not in _COORDINATES:
        raise spec.unsupported(f"coordinate_transformation_mode={coordinates!r}")
    if spec.integer("antialias", 0):
        raise spec.unsupported("antialias=1")
    if spec.text("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise spec.unsupported("keep_aspect_ratio_policy other than 'stretch'")
    sampling = _Sampling(
        mode=mode,
        coordinates=coordinates,
        nearest=spec.text("nearest_mode", "round_prefer_floor"),
        cubic_coefficient=spec.real("cubic_coeff_a", -0.75),
        exclude_outside=bool(spec.integer("exclude_outside", 0)),
        axes=spec.integers("axes"),
    )
    return partial(_resize, sampling=sampling)


OPERATORS: dict[str, Operator] = {"Resize": Operator(_resize_kernel, frozenset({1, 2, 3}))}
