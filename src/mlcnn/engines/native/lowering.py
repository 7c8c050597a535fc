"""Networks as operations of the kernels."""

from math import prod

import onnx_ir as ir

from mlcnn.engines.native import (
    comparator,
    comparator_reading,
    elementwise,
    focused,
    layers,
    maps,
    mixes,
    moving,
    pools,
    quantised,
    reducing,
    selected,
)
from mlcnn.engines.native.algorithms import Chooser
from mlcnn.engines.native.branches import is_marked
from mlcnn.engines.native.builder import Builder, Rule
from mlcnn.engines.native.conditional import lower_all
from mlcnn.engines.native.library import Library, load
from mlcnn.engines.native.program import Operation
from mlcnn.engines.native.reading import is_known, no_kernel, refusal
from mlcnn.graph import constant, is_standard
from mlcnn.nn.site import Site, site_of

__all__ = ["OPERATORS", "check", "lower", "suited"]

_RULES: dict[str, Rule] = {
    **elementwise.RULES, **focused.RULES, **layers.RULES, **moving.RULES, **pools.RULES,
    **reducing.RULES,
}  # fmt: skip
# They compute sizes from sizes, and are gone when those are known.
_SIZES = frozenset({
    "Cast", "Constant", "ConstantOfShape", "Expand", "Floor", "Gather", "Range", "Shape",
})  # fmt: skip

_NARROW = 0.8  # of the products or fewer, with unused lanes, pay for narrow blocks

OPERATORS = frozenset({*_RULES, *quantised.RULES, *maps.OPERATORS})
"""The operators that the kernels compute."""


def suited(model: ir.Model, march: str) -> Library:
    """The kernels whose blocks fit a network's filters: few filters leave half a block unused.

    Args:
        model: standard operators only, every shape known.
        march: see ``load``.
    """
    library = load(march)
    if library.narrow is None:
        return library
    products = dict.fromkeys((library.block, library.narrow), 0)
    for node in model.graph:
        if node.op_type == "Conv" and is_standard(node):
            shape, weight = node.outputs[0].shape, constant(node.inputs[1])
            if shape is None or weight is None:
                continue
            filters, *taps = weight.shape
            positions = prod(size for size in shape[2:] if isinstance(size, int))
            for block in products:
                products[block] += positions * prod(taps) * -(-filters // block) * block
    saved = products[library.narrow] < _NARROW * products[library.block]
    return load(march, library.narrow) if saved else library


def lower(
    model: ir.Model, library: Library, choose: Chooser, *,
    integers: bool = True, rounded_means: bool = False,
) -> list[Operation]:  # fmt: skip
    """The operations that compute a network.

    Args:
        model: standard operators only, every shape known; float32, or quantised. Dense buffers are
            its inputs, then its outputs.
        library: the kernels.
        choose: the algorithms of the convolutions.
        integers: whether a quantised network is computed in integers, where they are known.
        rounded_means: whether means of codes that a convolution reads are rounded to codes.

    Raises:
        UnsupportedError: an operator, type, rank or attribute that the kernels lack; it names
            the node.
    """
    build = Builder(model, library, choose, integers=integers, rounded_means=rounded_means)
    makers = maps.Makers.of(model)
    compares = comparator_reading.find(build, model)
    build.done.update(makers.inside, *(found.inside for found in compares.values()))
    lower_all(build, model.graph, lambda site: _lower(build, site, makers, compares))
    return build.finish()


def _lower(
    build: Builder,
    site: Site,
    makers: maps.Makers,
    compares: dict[ir.Node, comparator_reading.Compared],
) -> None:
    node = site.node
    if node in build.done or all(map(is_known, node.outputs)):
        return
    if node in compares:
        comparator.lower(build, site, compares[node])
        return
    if any(value.consumers() or value.is_graph_output() for value in node.outputs[1:]):
        raise refusal(site, "a second output")
    if maps.take(build, site, makers) or (is_standard(node) and selected.take(build, site)):
        return
    if is_standard(node) and (quantised.take(build, site) or mixes.take(build, site)):
        return
    rule = _RULES.get(node.op_type) if is_standard(node) else None
    if rule is None:
        raise no_kernel(site)
    rule(build, site)


def check(model: ir.Model) -> None:
    """Refuse a network for which there are no kernels, whatever its inputs' sizes.

    Raises:
        UnsupportedError: an operator that is neither in the kernels nor computes sizes, nor makes
            weights of constants, which is done before the kernels run.
    """
    known = set(model.graph.initializers.values())
    for node in model.graph:
        inputs = [value for value in node.inputs if value is not None]
        if node.op_type == "Constant" or (inputs and known.issuperset(inputs)):
            known.update(node.outputs)
        elif is_marked(node):
            continue
        elif not is_standard(node) or node.op_type not in OPERATORS | _SIZES:
            raise no_kernel(site_of(node, model.opset_imports))
