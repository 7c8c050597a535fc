"""Networks as operations of the kernels."""

import onnx_ir as ir

from mlcnn.engines.native import elementwise, layers, moving, pools, quantised
from mlcnn.engines.native.algorithms import Choose
from mlcnn.engines.native.builder import Builder, Rule
from mlcnn.engines.native.library import Library
from mlcnn.engines.native.program import Operation
from mlcnn.engines.native.reading import is_known, no_kernel, refusal
from mlcnn.graph import is_standard
from mlcnn.nn.site import site_of

__all__ = ["OPERATORS", "check", "lower"]

_RULES: dict[str, Rule] = {**elementwise.RULES, **layers.RULES, **moving.RULES, **pools.RULES}
# They compute sizes from sizes, and are gone when those are known.
_SIZES = frozenset({
    "Cast", "Constant", "ConstantOfShape", "Expand", "Floor", "Gather", "Range", "Shape",
})  # fmt: skip

OPERATORS = frozenset({*_RULES, *quantised.RULES})
"""The operators that the kernels compute."""


def lower(
    model: ir.Model, library: Library, choose: Choose, *, rounded_means: bool = False
) -> list[Operation]:
    """The operations that compute a network.

    Args:
        model: standard operators only, every shape known; float32, or quantised. Dense buffers are
            its inputs, then its outputs.
        library: the kernels.
        choose: the algorithm of a convolution.
        rounded_means: whether means of codes that a convolution reads are rounded to codes.

    Raises:
        UnsupportedError: an operator, type, rank or attribute that the kernels lack; it names
            the node.
    """
    build = Builder(model, library, choose, rounded_means=rounded_means)
    outputs = set(model.graph.outputs)
    for node in model.graph:
        if node in build.done or all(map(is_known, node.outputs)):
            continue
        site = build.site(node)
        if any(value.consumers() or value in outputs for value in node.outputs[1:]):
            raise refusal(site, "a second output")
        if is_standard(node) and quantised.take(build, site):
            continue
        rule = _RULES.get(node.op_type) if is_standard(node) else None
        if rule is None:
            raise no_kernel(site)
        rule(build, site)
    return build.finish()


def check(model: ir.Model) -> None:
    """Refuse a network for which there are no kernels, whatever its inputs' sizes.

    Raises:
        UnsupportedError: an operator that is neither in the kernels nor computes sizes.
    """
    for node in model.graph:
        if not is_standard(node) or node.op_type not in OPERATORS | _SIZES:
            raise no_kernel(site_of(node, model.opset_imports))
