"""Operators without weights: torch's own module where it is the same, else the function."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

from torch import Tensor, nn

from mlcnn.graph import DropoutKind, constant, dropout_kind
from mlcnn.graph.operators import Kernel, find, pool_windows, torch_takes
from mlcnn.nn.site import Site

__all__ = ["Apply", "stateless_module"]

_AVERAGE = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
_MAX = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
_ADAPTIVE_AVERAGE = {3: nn.AdaptiveAvgPool1d, 4: nn.AdaptiveAvgPool2d, 5: nn.AdaptiveAvgPool3d}
_ADAPTIVE_MAX = {3: nn.AdaptiveMaxPool1d, 4: nn.AdaptiveMaxPool2d, 5: nn.AdaptiveMaxPool3d}

_CHANNEL_DROPOUT = {3: nn.Dropout1d, 4: nn.Dropout2d, 5: nn.Dropout3d}


class Apply(nn.Module):
    """An operator's function as a module.

    Args:
        kernel: takes what the module is called with.
        label: what the module prints as.
    """

    def __init__(self, kernel: Kernel, label: str) -> None:
        super().__init__()
        self.kernel = kernel
        self.label = label

    def forward(self, *inputs: Any) -> Tensor | tuple[Tensor, ...]:
        """What the function returns."""
        return self.kernel(*inputs)

    def extra_repr(self) -> str:
        """The operator's name."""
        return self.label


def stateless_module(site: Site) -> tuple[nn.Module, bool]:
    """The module of a node, and whether it takes the node's first input only.

    Raises:
        UnsupportedError: naming the node, where there is none.
    """
    build = _MODULES.get(site.spec.op_type) if site.spec.is_standard else None
    module = build(site) if build is not None else None
    if module is not None:
        return module, True
    operator = find(site.spec)
    return Apply(operator.build(site.spec), site.spec.op_type), False


def _average_pool(site: Site) -> nn.Module | None:
    windows = pool_windows(site.spec)
    if not torch_takes(windows) or set(windows.dilations) != {1}:
        return None
    make = cast("Callable[..., nn.Module]", _AVERAGE[len(windows.kernel)])
    return make(
        windows.kernel,
        windows.strides,
        windows.before,
        ceil_mode=windows.ceil_mode,
        count_include_pad=bool(site.spec.integer("count_include_pad", 0)),
    )


def _max_pool(site: Site) -> nn.Module | None:
    windows = pool_windows(site.spec)
    if not torch_takes(windows):
        return None
    site.spec.require_single_output()
    make = cast("Callable[..., nn.Module]", _MAX[len(windows.kernel)])
    return make(
        windows.kernel,
        windows.strides,
        windows.before,
        dilation=windows.dilations,
        ceil_mode=windows.ceil_mode,
    )


def _global_pool(by_rank: Mapping[int, Callable[..., nn.Module]], site: Site) -> nn.Module | None:
    make = by_rank.get(site.rank(0))
    return None if make is None else make(1)


def _clip(site: Site) -> nn.Module | None:
    bounds = [constant(site.value(index)) for index in (1, 2)]
    low, high = (None if bound is None else float(bound.reshape(())) for bound in bounds)
    if low is None or high is None or low >= high:
        return None
    return nn.ReLU6() if (low, high) == (0, 6) else nn.Hardtanh(low, high)


def _dropout(site: Site) -> nn.Module:
    site.spec.require_single_output()
    ratio = constant(site.value(1))
    probability = 0.5 if ratio is None else float(ratio.reshape(()))
    match dropout_kind(site.node):
        case None:
            return nn.Dropout(probability)
        case DropoutKind.CHANNELS:  # of an input without them, each value is one
            return _CHANNEL_DROPOUT.get(site.rank(0), nn.Dropout)(probability)
        case DropoutKind.ALPHA:
            return nn.AlphaDropout(probability)
        case DropoutKind.ALPHA_CHANNELS:
            return nn.FeatureAlphaDropout(probability)


def _hard_sigmoid(site: Site) -> nn.Module | None:
    alpha, beta = site.spec.real("alpha", 0.2), site.spec.real("beta", 0.5)
    return nn.Hardsigmoid() if abs(alpha - 1 / 6) < 1e-7 and beta == 0.5 else None


def _flatten(site: Site) -> nn.Module | None:
    return nn.Flatten() if site.spec.integer("axis", 1) == 1 and site.rank(0) > 1 else None


def _gelu(site: Site) -> nn.Module:
    return nn.GELU(site.spec.text("approximate", "none"))


_MODULES: dict[str, Callable[[Site], nn.Module | None]] = {
    "AveragePool": _average_pool,
    "MaxPool": _max_pool,
    "GlobalAveragePool": partial(_global_pool, _ADAPTIVE_AVERAGE),
    "GlobalMaxPool": partial(_global_pool, _ADAPTIVE_MAX),
    "Clip": _clip,
    "Dropout": _dropout,
    "HardSigmoid": _hard_sigmoid,
    "Flatten": _flatten,
    "Gelu": _gelu,
    "Relu": lambda _: nn.ReLU(),
    "LeakyRelu": lambda site: nn.LeakyReLU(site.spec.real("alpha", 0.01)),
    "Elu": lambda site: nn.ELU(site.spec.real("alpha", 1.0)),
    "Celu": lambda site: nn.CELU(site.spec.real("alpha", 1.0)),
    "Sigmoid": lambda _: nn.Sigmoid(),
    "Tanh": lambda _: nn.Tanh(),
    "HardSwish": lambda _: nn.Hardswish(),
    "Mish": lambda _: nn.Mish(),
    "Softsign": lambda _: nn.Softsign(),
    "Softmax": lambda site: nn.Softmax(site.spec.integer("axis", -1)),
    "LogSoftmax": lambda site: nn.LogSoftmax(site.spec.integer("axis", -1)),
    "Identity": lambda _: nn.Identity(),
}
