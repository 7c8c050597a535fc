"""Normalisations, in inference."""

from functools import partial

import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

from mlcnn.graph.operators.spec import Kernel, NodeSpec, Operator

__all__ = ["OPERATORS"]


def _batch(
    x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, *, epsilon: float
) -> Tensor:
    return F.batch_norm(x, mean, variance, scale, bias, eps=epsilon)


def _batch_kernel(spec: NodeSpec) -> Kernel:
    spec.require_single_output()
    if spec.integer("training_mode", 0):
        raise spec.unsupported("training_mode=1 (statistics of the batch)")
    return partial(_batch, epsilon=spec.real("epsilon", 1e-5))


def _instance(x: Tensor, scale: Tensor, bias: Tensor, *, epsilon: float) -> Tensor:
    return F.instance_norm(x, weight=scale, bias=bias, eps=epsilon)


def _instance_kernel(spec: NodeSpec) -> Kernel:
    return partial(_instance, epsilon=spec.real("epsilon", 1e-5))


def _layer(
    x: Tensor, scale: Tensor, bias: Tensor | None = None, *, axis: int, epsilon: float
) -> Tensor:
    shape = x.shape[axis % x.ndim :]
    result = F.layer_norm(x, shape, eps=epsilon) * scale
    return result if bias is None else result + bias


def _layer_kernel(spec: NodeSpec) -> Kernel:
    spec.require_single_output()
    return partial(_layer, axis=spec.integer("axis", -1), epsilon=spec.real("epsilon", 1e-5))


def _group(x: Tensor, scale: Tensor, bias: Tensor, *, groups: int, epsilon: float) -> Tensor:
    if scale.shape[0] == groups:  # before opset 21: one scale per group
        repeats = x.shape[1] // groups
        scale, bias = scale.repeat_interleave(repeats), bias.repeat_interleave(repeats)
    return F.group_norm(x, groups, scale, bias, epsilon)


def _group_kernel(spec: NodeSpec) -> Kernel:
    groups = spec.integer("num_groups", 1)
    return partial(_group, groups=groups, epsilon=spec.real("epsilon", 1e-5))


def _root_mean_square(x: Tensor, scale: Tensor, *, axis: int, epsilon: float) -> Tensor:
    axes = tuple(range(axis % x.ndim, x.ndim))
    return x * ((x * x).mean(axes, keepdim=True) + epsilon).rsqrt() * scale


def _root_mean_square_kernel(spec: NodeSpec) -> Kernel:
    axis, epsilon = spec.integer("axis", -1), spec.real("epsilon", 1e-5)
    return partial(_root_mean_square, axis=axis, epsilon=epsilon)


def _lp(x: Tensor, *, axis: int, order: int) -> Tensor:
    norm = x.norm(order, axis, keepdim=True)
    return (x / norm).where(norm != 0, 0.0)


def _lp_kernel(spec: NodeSpec) -> Kernel:
    return partial(_lp, axis=spec.integer("axis", -1), order=spec.integer("p", 2))


def _mean_variance(x: Tensor, *, axes: tuple[int, ...]) -> Tensor:
    centred = x - x.mean(axes, keepdim=True)
    # The constant is ONNX's own, in the operator's reference body.
    return centred / ((centred * centred).mean(axes, keepdim=True).sqrt() + 1e-9)


def _mean_variance_kernel(spec: NodeSpec) -> Kernel:
    return partial(_mean_variance, axes=spec.integers("axes") or (0, 2, 3))


OPERATORS: dict[str, Operator] = {
    "BatchNormalization": Operator(_batch_kernel),
    "InstanceNormalization": Operator(_instance_kernel),
    "LayerNormalization": Operator(_layer_kernel),
    "GroupNormalization": Operator(_group_kernel),
    "RMSNormalization": Operator(_root_mean_square_kernel),
    "LpNormalization": Operator(_lp_kernel),
    "MeanVarianceNormalization": Operator(_mean_variance_kernel),
}
