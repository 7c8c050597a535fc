"""Two convolutions that are one whose kernels are sums of a few shared ones.

A depthwise convolution with d results a channel, the same d kernels for every channel, and a 1x1
convolution of its results: coefficients (K, C, d) of d kernels [PENNI]. Or a convolution
whose kernels a network multiplies from both: what knows no zeros is faster so, and here they would
be lost.
"""

import numpy as np
import onnx_ir as ir

from mlcnn.engines.native.builder import Builder
from mlcnn.engines.native.packing import Shared
from mlcnn.engines.native.program import Floats
from mlcnn.engines.native.reading import constant_of
from mlcnn.graph import constant, free_name, is_standard, value_names
from mlcnn.graph.operators import Windows, conv_windows
from mlcnn.nn.site import Site

__all__ = ["ONE", "shared_from", "staged"]

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


def staged(model: ir.Model) -> ir.Model:
    """Convolutions with kernels that are multiplied become the two convolutions of the factors.

    Args:
        model: a network of standard operators; it is changed.
    """
    for node in tuple(model.graph):
        factors = _factors(node) if node.op_type == "Conv" and is_standard(node) else None
        if factors is not None:
            _stage(model, node, *factors)
    return model


def _factors(node: ir.Node) -> tuple[Floats, Floats] | None:
    """Basis (d, rows, columns) and coefficients (K, C, d) of a weight that is their product."""
    weight, groups = node.inputs[1], node.attributes.get("group")
    product = _laid_out(weight)
    if weight is None or weight.shape is None or product is None or product.op_type != "MatMul":
        return None
    first, second = (constant_of(_plain(value)) for value in product.inputs)
    if first is None or second is None or first.ndim != 3 or not weight.shape.is_static():
        return None
    basis = second.reshape(first.shape[2], -1)
    shape = weight.shape.numpy()
    if (groups is not None and groups.as_int() != 1) or shape[:2] != first.shape[:2]:
        return None
    return basis.reshape(-1, *shape[2:]), first


def _laid_out(value: ir.Value | None) -> ir.Node | None:
    """What makes the numbers that a constant reshape lays out."""
    node = None if value is None else value.producer()
    if node is None or node.op_type != "Reshape" or constant(node.inputs[1]) is None:
        return None
    return None if node.inputs[0] is None else node.inputs[0].producer()


def _plain(value: ir.Value | None) -> ir.Value | None:
    """The value itself, or what a reshape makes it of."""
    node = None if value is None else value.producer()
    return node.inputs[0] if node is not None and node.op_type == "Reshape" else value


def _stage(model: ir.Model, node: ir.Node, basis: Floats, coefficients: Floats) -> None:
    filters, channels, count = coefficients.shape
    taken = value_names(model)

    def weight(array: Floats, role: str) -> ir.Value:
        name = free_name(f"{node.name}.{role}", taken)
        tensor = ir.Tensor(np.ascontiguousarray(array), name=name)
        value = ir.Value(name=name, const_value=tensor, shape=ir.Shape(array.shape),
                         type=ir.TensorType(ir.DataType.FLOAT))  # fmt: skip
        model.graph.register_initializer(value)
        return value

    each = weight(np.tile(basis[:, None], (channels, 1, 1, 1)), "basis")
    mixture = weight(coefficients.reshape(filters, channels * count, 1, 1), "coefficients")
    attributes = [a for name, a in node.attributes.items() if name != "group"]
    first = ir.Node(
        "", "Conv", [node.inputs[0], each], [*attributes, ir.AttrInt64("group", channels)],
        name=f"{node.name}.maps",
    )  # fmt: skip
    first.outputs[0].name = free_name(f"{node.name}.maps", taken)
    second = ir.Node("", "Conv", [first.outputs[0], mixture, *node.inputs[2:]], name=node.name)
    output = node.outputs[0]
    name, new = output.name, second.outputs[0]
    new.shape, new.type = output.shape, output.type
    model.graph.insert_before(node, [first, second])
    ir.convenience.replace_all_uses_with(output, new, replace_graph_outputs=True)
    model.graph.remove(node, safe=True)
    new.name = name
