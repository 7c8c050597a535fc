"""Two convolutions that are one whose kernels are sums of a few shared ones.

A depthwise convolution with d results a channel, the same d kernels for every channel, and a 1x1
convolution of its results: coefficients (K, C, d) of d kernels [PENNI].
"""

import numpy as np

from mlcnn.engines.native.builder import Builder
from mlcnn.engines.native.packing import Shared
from mlcnn.engines.native.program import Floats
from mlcnn.engines.native.reading import constant_of
from mlcnn.graph import is_standard
from mlcnn.graph.operators import Windows, conv_windows
from mlcnn.nn.site import Site

__all__ = ["ONE", "shared_from"]

ONE = Windows((1, 1), (1, 1), (1, 1), (0, 0), (0, 0))


def shared_from(build: Builder, site: Site) -> tuple[Site, Shared] | None:
    """The second convolution, and what both have; None where the node begins no such pair."""
    groups = site.spec.integer("group", 1)
    each = constant_of(site.value(1))
    basis = None if each is None or groups < 2 else _same_of_all(each, groups)
    reader = build.only_reader(site.node.outputs[0])
    if basis is None or reader is None or reader.op_type != "Conv" or not is_standard(reader):
        return None
    second = build.site(reader)
    mixture = constant_of(second.value(1))
    if _has_bias(site) or second.value(0) is not site.node.outputs[0] or mixture is None:
        return None
    wanted = groups * len(basis), 1, 1
    if mixture.shape[1:] != wanted or conv_windows(second.spec, mixture.shape[2:]) != ONE:
        return None
    return second, Shared(basis, mixture.reshape(len(mixture), groups, len(basis)))


def _same_of_all(weight: Floats, groups: int) -> Floats | None:
    """The kernels (d, rows, columns) that every channel has."""
    if weight.ndim != 4 or weight.shape[1] != 1 or len(weight) % groups:
        return None
    kernels = weight.reshape(groups, -1, *weight.shape[2:])
    return (
        kernels[0] if np.array_equal(kernels, np.broadcast_to(kernels[0], kernels.shape)) else None
    )


def _has_bias(site: Site) -> bool:
    bias = constant_of(site.value(2)) if site.spec.has_input(2) else np.zeros(1)
    return bias is None or bool(np.any(bias))
