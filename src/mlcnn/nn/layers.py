"""Operators with weights as torch's own modules.

A builder returns ``None`` for a node that torch's module cannot express (weights that are
computed, an exotic attribute): the operator's function is then called as it is, without
parameters to train.
"""

from collections.abc import Callable
from typing import cast

import torch
from torch import nn

from mlcnn.graph.operators import Windows, conv_windows, flat_pads
from mlcnn.nn.site import Site
from mlcnn.ops.trained import TrainedLayer as Layer
from mlcnn.ops.trained import TrainedWeight as Weight

__all__ = ["LAYERS", "Layer", "Weight"]

# Made without memory: the weights come from the network, and torch's random state is untouched.
_META = torch.device("meta")
_CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_CONV_TRANSPOSE = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_ZERO_PAD = {1: nn.ZeroPad1d, 2: nn.ZeroPad2d, 3: nn.ZeroPad3d}
_BATCH_NORM = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
_INSTANCE_NORM = {3: nn.InstanceNorm1d, 4: nn.InstanceNorm2d, 5: nn.InstanceNorm3d}


def _bias_index(site: Site, index: int) -> int | None:
    """Input ``index`` if it is a bias that matters.

    The exporter gives a convolution without bias a constant of zeros: that must not start to
    train. A bias that a module owns goes by the name ``<layer>.bias``.
    """
    value, bias = site.value(index), site.tensor(index)
    if value is None or bias is None:
        return None
    owned = str(value.name).rpartition(".")[2] == "bias"
    return index if owned or bool(bias.count_nonzero()) else None


def _with_bias(weight: Weight, bias: int | None) -> tuple[Weight, ...]:
    return (weight,) if bias is None else (weight, Weight("bias", bias))


def _has_constants(site: Site, *indices: int) -> bool:
    """Whether each input is a constant, or left out."""
    return all(site.value(index) is None or site.is_constant(index) for index in indices)


def _static_pads(site: Site, windows: Windows) -> Windows | None:
    """The windows with explicit pads; ``None`` if they depend on an input of dynamic size."""
    if not windows.same:
        return windows
    sizes = (site.sizes(0) or (None,))[2:]
    if len(sizes) != len(windows.kernel) or None in sizes:
        return None
    before, after = windows.pads(cast("tuple[int, ...]", sizes))
    return Windows(windows.kernel, windows.strides, windows.dilations, before, after)


def _conv(site: Site) -> Layer | None:
    weight = site.tensor(1)
    if weight is None or not _has_constants(site, 2) or weight.ndim - 2 not in _CONV:
        return None
    windows = _static_pads(site, conv_windows(site.spec, tuple(weight.shape[2:])))
    if windows is None:
        return None
    groups, bias = site.spec.integer("group", 1), _bias_index(site, 2)
    rank = weight.ndim - 2
    # The modules' argument types name each rank's tuple; ours have the right length.
    make = cast("Callable[..., nn.Module]", _CONV[rank])
    module = make(
        weight.shape[1] * groups,
        weight.shape[0],
        windows.kernel,
        stride=windows.strides,
        padding=windows.before if windows.symmetric else 0,
        dilation=windows.dilations,
        groups=groups,
        bias=bias is not None,
        device=_META,
    )
    pad = None
    if not windows.symmetric:
        zero_pad = cast("Callable[..., nn.Module]", _ZERO_PAD[rank])
        pad = zero_pad(flat_pads(windows.before, windows.after))
    return Layer(module, _with_bias(Weight("weight", 1), bias), pad)


def _conv_transpose(site: Site) -> Layer | None:
    weight, spec = site.tensor(1), site.spec
    if weight is None or not _has_constants(site, 2) or weight.ndim - 2 not in _CONV_TRANSPOSE:
        return None
    windows = conv_windows(spec, tuple(weight.shape[2:]))
    if not windows.symmetric or spec.integers("output_shape") is not None:
        return None
    groups, bias = spec.integer("group", 1), _bias_index(site, 2)
    make = cast("Callable[..., nn.Module]", _CONV_TRANSPOSE[weight.ndim - 2])
    module = make(
        weight.shape[0],
        weight.shape[1] * groups,
        windows.kernel,
        stride=windows.strides,
        padding=windows.before,
        output_padding=spec.integers("output_padding") or 0,
        dilation=windows.dilations,
        groups=groups,
        bias=bias is not None,
        device=_META,
    )
    return Layer(module, _with_bias(Weight("weight", 1), bias))


def _gemm(site: Site) -> Layer | None:
    weight, bias, spec = site.tensor(1), site.tensor(2), site.spec
    scaled = spec.real("alpha", 1.0) != 1 or (bias is not None and spec.real("beta", 1.0) != 1)
    if weight is None or scaled or spec.integer("transA", 0) or not _has_constants(site, 2):
        return None
    transposed = not spec.integer("transB", 0)
    outputs, inputs = weight.T.shape if transposed else weight.shape
    if bias is not None and bias.numel() != outputs:
        return None
    index = _bias_index(site, 2)
    module = nn.Linear(inputs, outputs, bias=index is not None, device=_META)
    matrix = Weight("weight", 1, transposed=transposed)
    return Layer(module, (matrix,) if index is None else (matrix, Weight("bias", 2, flat=True)))


def _matmul(site: Site) -> Layer | None:
    weight = site.tensor(1)
    if weight is None or weight.ndim != 2 or not weight.is_floating_point():
        return None
    module = nn.Linear(weight.shape[0], weight.shape[1], bias=False, device=_META)
    return Layer(module, (Weight("weight", 1, transposed=True),))


def _batch_norm(site: Site) -> Layer | None:
    scale = site.tensor(1)
    if scale is None or not all(site.is_constant(index) for index in (2, 3, 4)):
        return None
    make = _BATCH_NORM.get(site.rank(0))
    if make is None:
        return None
    site.spec.require_single_output()
    module = make(
        len(scale),
        eps=site.spec.real("epsilon", 1e-5),
        momentum=1 - site.spec.real("momentum", 0.9),
        device=_META,
    )
    module.num_batches_tracked = torch.tensor(0)
    names = ("weight", "bias", "running_mean", "running_var")
    return Layer(module, tuple(Weight(name, i) for i, name in enumerate(names, start=1)))


def _instance_norm(site: Site) -> Layer | None:
    scale, make = site.tensor(1), _INSTANCE_NORM.get(site.rank(0))
    if scale is None or make is None or not site.is_constant(2):
        return None
    module = make(len(scale), eps=site.spec.real("epsilon", 1e-5), affine=True, device=_META)
    return Layer(module, (Weight("weight", 1), Weight("bias", 2)))


def _layer_norm(site: Site) -> Layer | None:
    scale, spec = site.tensor(1), site.spec
    if scale is None or not _has_constants(site, 2):
        return None
    rank = site.rank(0)
    axis = spec.integer("axis", -1) % rank
    if scale.ndim != rank - axis or 1 in scale.shape:
        return None
    spec.require_single_output()
    bias = None if site.value(2) is None else 2
    shape, epsilon = list(scale.shape), spec.real("epsilon", 1e-5)
    module = nn.LayerNorm(shape, epsilon, bias=bias is not None, device=_META)
    return Layer(module, _with_bias(Weight("weight", 1), bias))


def _group_norm(site: Site) -> Layer | None:
    scale, spec = site.tensor(1), site.spec
    sizes = site.sizes(0)
    if scale is None or not site.is_constant(2) or sizes is None or sizes[1:2] != (len(scale),):
        return None  # before opset 21 there is one scale per group
    groups, epsilon = spec.integer("num_groups", 1), spec.real("epsilon", 1e-5)
    module = nn.GroupNorm(groups, len(scale), epsilon, device=_META)
    return Layer(module, (Weight("weight", 1), Weight("bias", 2)))


def _parametric_relu(site: Site) -> Layer | None:
    slope = site.tensor(1)
    if slope is None or not slope.is_floating_point():
        return None
    rank = site.rank(0)
    per_channel = slope.ndim == rank - 1 and slope.shape[0] == slope.numel()
    if slope.numel() != 1 and not per_channel:
        return None
    return Layer(nn.PReLU(slope.numel(), device=_META), (Weight("weight", 1, flat=True),))


LAYERS: dict[str, Callable[[Site], Layer | None]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "BatchNormalization": _batch_norm,
    "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm,
    "GroupNormalization": _group_norm,
    "PRelu": _parametric_relu,
}
"""Builders of the modules that have weights, by operator."""
