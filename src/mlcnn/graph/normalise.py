"""From any valid ONNX model to the one form that passes expect.

That form: opset 20 or newer, weights as initializers and no initializer among the inputs,
constant computations done, shapes inferred with dynamic dimensions kept. What no rule here
touches (unknown domains, quantisation, control flow, functions) stays as it is.
"""

import logging

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import (
    LiftConstantsToInitializersPass,
    RemoveInitializersFromInputsPass,
    RemoveUnusedNodesPass,
)

from mlcnn.graph.folding import fold_constants
from mlcnn.graph.names import constant
from mlcnn.graph.opsets import upgrade
from mlcnn.graph.pools import settle_pools
from mlcnn.graph.shapes import certain_shapes, infer_shapes

__all__ = ["normalise"]

_NEWEST_IR = 13  # the newest file format that today's engines read; onnx itself is ahead of them
_LOGGER = logging.getLogger(__name__)


def normalise(model: ir.Model) -> ir.Model:
    """Bring a valid network into the form that passes expect.

    Args:
        model: the network; it is changed.

    Returns:
        The network in that form, which may be another object.

    Raises:
        UnsupportedError: a node cannot be expressed in opset 20.
    """
    model.ir_version = min(model.ir_version, _NEWEST_IR)
    RemoveInitializersFromInputsPass()(model)
    infer_shapes(model)
    settle_pools(model)
    upgrade(model)
    model = _folded(model)
    infer_shapes(model)
    settle_pools(model)  # sizes that only folding made known
    _fix_reshapes(model)
    RemoveUnusedNodesPass()(model)
    return model


def _folded(model: ir.Model) -> ir.Model:
    try:
        folded = fold_constants(model)
    except RuntimeError as error:
        # The folder stumbles over operators that break their own rules; the network is then
        # checked and run as it stands.
        _LOGGER.debug("constants left unfolded: %s", error)
        return model
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(folded)
    return folded


def _fix_reshapes(model: ir.Model) -> None:
    """Write a computed target shape with one dynamic dimension as a constant with a -1.

    ``torch.flatten(x, 1)`` is exported as a small graph that reads the batch size.
    """
    computed = [
        node
        for node in model.graph
        if node.op_type == "Reshape" and not node.domain and constant(node.inputs[1]) is None
    ]
    shapes = certain_shapes(model) if computed else {}
    for node in computed:
        shape = shapes.get(node.outputs[0])
        if shape is None:
            continue
        dims = [dim if isinstance(dim, int) else -1 for dim in shape.dims]
        if dims.count(-1) > 1 or 0 in dims:
            continue
        name = f"{node.outputs[0].name}/shape"
        if name in ir.convenience.create_value_mapping(model.graph):
            continue
        target = ir.Value(
            name=name,
            const_value=ir.Tensor(np.asarray(dims, np.int64), name=name),
            shape=ir.Shape([len(dims)]),
            type=ir.TensorType(ir.DataType.INT64),
        )
        model.graph.register_initializer(target)
        node.replace_input_with(1, target)
