"""Element-wise operators: arithmetic, comparison, activations."""

from collections.abc import Callable
from functools import partial, reduce

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

from mlcnn.graph.operators.spec import Kernel, NodeSpec, Operator, torch_dtype

__all__ = ["OPERATORS"]


def _plain(kernel: Kernel) -> Operator:
    """An operator without attributes."""
    return Operator(lambda _: kernel)


def _divide(x: Tensor, y: Tensor) -> Tensor:
    if x.is_floating_point():
        return x / y
    return torch.div(x, y, rounding_mode="trunc")


def _power(x: Tensor, y: Tensor) -> Tensor:
    return torch.pow(x, y).to(x.dtype)


def _modulo(spec: NodeSpec) -> Kernel:
    return torch.fmod if spec.integer("fmod", 0) else torch.remainder


def _fold(kernel: Callable[[Tensor, Tensor], Tensor], *inputs: Tensor) -> Tensor:
    return reduce(kernel, inputs)


def _mean(*inputs: Tensor) -> Tensor:
    return reduce(torch.add, inputs) / len(inputs)


def _clip(x: Tensor, low: float | None = None, high: float | None = None) -> Tensor:
    if low is None and high is None:
        return x
    return torch.clamp(x, low, high)


def _clip_kernel(spec: NodeSpec) -> Kernel:
    bounds = {
        key: attribute.as_float()
        for name, key in (("min", "low"), ("max", "high"))
        if (attribute := spec.attributes.get(name)) is not None
    }
    return partial(_clip, **bounds) if bounds else _clip


def _leaky_relu(spec: NodeSpec) -> Kernel:
    return partial(F.leaky_relu, negative_slope=spec.real("alpha", 0.01))


def _parametric_relu(x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x < 0, x * slope, x)


def _hard_sigmoid(x: Tensor, *, alpha: float, beta: float) -> Tensor:
    return torch.clamp(alpha * x + beta, 0, 1)


def _hard_sigmoid_kernel(spec: NodeSpec) -> Kernel:
    return partial(_hard_sigmoid, alpha=spec.real("alpha", 0.2), beta=spec.real("beta", 0.5))


def _gelu(spec: NodeSpec) -> Kernel:
    return partial(F.gelu, approximate=spec.text("approximate", "none"))


def _elu(spec: NodeSpec) -> Kernel:
    return partial(F.elu, alpha=spec.real("alpha", 1.0))


def _celu(spec: NodeSpec) -> Kernel:
    return partial(F.celu, alpha=spec.real("alpha", 1.0))


def _scaled_elu(x: Tensor, *, alpha: float, gamma: float) -> Tensor:
    return gamma * torch.where(x > 0, x, alpha * torch.expm1(x))


def _selu(spec: NodeSpec) -> Kernel:
    alpha = spec.real("alpha", 1.67326319217681884765625)
    gamma = spec.real("gamma", 1.05070102214813232421875)
    return partial(_scaled_elu, alpha=alpha, gamma=gamma)


def _softplus(x: Tensor) -> Tensor:
    return torch.logaddexp(x, torch.zeros_like(x))


def _thresholded(x: Tensor, *, alpha: float) -> Tensor:
    return torch.where(x > alpha, x, torch.zeros_like(x))


def _thresholded_relu(spec: NodeSpec) -> Kernel:
    return partial(_thresholded, alpha=spec.real("alpha", 1.0))


def _scaled_swish(x: Tensor, *, alpha: float) -> Tensor:
    return x * torch.sigmoid(alpha * x)


def _swish(spec: NodeSpec) -> Kernel:
    return partial(_scaled_swish, alpha=spec.real("alpha", 1.0))


def _softmax(spec: NodeSpec) -> Kernel:
    return partial(torch.softmax, dim=spec.integer("axis", -1))


def _log_softmax(spec: NodeSpec) -> Kernel:
    return partial(torch.log_softmax, dim=spec.integer("axis", -1))


def _cast(x: Tensor, *, dtype: torch.dtype) -> Tensor:
    return x.to(dtype)


def _cast_kernel(spec: NodeSpec) -> Kernel:
    dtype = torch_dtype(spec.data_type("to"), spec.float_dtype, spec.where)
    return partial(_cast, dtype=dtype)


def _cast_like(x: Tensor, like: Tensor) -> Tensor:
    return x.to(like.dtype)


def _identity(x: Tensor) -> Tensor:
    return x


def _dropout(x: Tensor, _ratio: float | None = None, _training: float | None = None) -> Tensor:
    return x


def _dropout_kernel(spec: NodeSpec) -> Kernel:
    spec.require_single_output()
    return _dropout


def _is_inf(x: Tensor) -> Tensor:
    return torch.isinf(x)


OPERATORS: dict[str, Operator] = {
    "Add": _plain(torch.add),
    "Sub": _plain(torch.sub),
    "Mul": _plain(torch.mul),
    "Div": _plain(_divide),
    "Pow": _plain(_power),
    "Mod": Operator(_modulo),
    "Min": _plain(partial(_fold, torch.minimum)),
    "Max": _plain(partial(_fold, torch.maximum)),
    "Sum": _plain(partial(_fold, torch.add)),
    "Mean": _plain(_mean),
    "Equal": _plain(torch.eq),
    "Greater": _plain(torch.gt),
    "GreaterOrEqual": _plain(torch.ge),
    "Less": _plain(torch.lt),
    "LessOrEqual": _plain(torch.le),
    "And": _plain(torch.logical_and),
    "Or": _plain(torch.logical_or),
    "Xor": _plain(torch.logical_xor),
    "Not": _plain(torch.logical_not),
    "Where": _plain(torch.where),
    "IsNaN": _plain(torch.isnan),
    "IsInf": _plain(_is_inf),
    "Sqrt": _plain(torch.sqrt),
    "Reciprocal": _plain(torch.reciprocal),
    "Neg": _plain(torch.neg),
    "Abs": _plain(torch.abs),
    "Exp": _plain(torch.exp),
    "Log": _plain(torch.log),
    "Floor": _plain(torch.floor),
    "Ceil": _plain(torch.ceil),
    "Round": _plain(torch.round),
    "Sign": _plain(torch.sign),
    "Sin": _plain(torch.sin),
    "Cos": _plain(torch.cos),
    "Erf": _plain(torch.erf),
    "Relu": _plain(torch.relu),
    "LeakyRelu": Operator(_leaky_relu),
    "PRelu": _plain(_parametric_relu),
    "Clip": Operator(_clip_kernel, frozenset({1, 2})),
    "Sigmoid": _plain(torch.sigmoid),
    "Tanh": _plain(torch.tanh),
    "HardSigmoid": Operator(_hard_sigmoid_kernel),
    "HardSwish": _plain(F.hardswish),
    "Gelu": Operator(_gelu),
    "Elu": Operator(_elu),
    "Celu": Operator(_celu),
    "Selu": Operator(_selu),
    "Softplus": _plain(_softplus),
    "Softsign": _plain(F.softsign),
    "Mish": _plain(F.mish),
    "Swish": Operator(_swish),
    "ThresholdedRelu": Operator(_thresholded_relu),
    "Softmax": Operator(_softmax),
    "LogSoftmax": Operator(_log_softmax),
    "Cast": Operator(_cast_kernel),
    "CastLike": _plain(_cast_like),
    "Identity": _plain(_identity),
    "Dropout": Operator(_dropout_kernel, frozenset({1, 2})),
}
