"""Weights that are made of dequantised codes by more than a scale: they are floats."""

import onnx_ir as ir

from mlcnn.engines.native.codes import dequantised, is_dequantised
from mlcnn.graph import DEQUANTIZE, QUANTIZE, constant, is_quantiser
from mlcnn.nn.site import site_of

__all__ = ["mended"]


def mended(model: ir.Model) -> ir.Model:
    """The same network, in which what is computed of codes alone is computed of floats.

    A zero point between two codes, which ``DequantizeLinear`` lacks, is written so: as an addition
    behind it. Constants are folded, and it is not, as layers read its codes.

    Args:
        model: the network, which is changed.
    """
    for node in model.graph:
        quantises = is_quantiser(node, DEQUANTIZE) or is_quantiser(node, QUANTIZE)
        given = [value for value in node.inputs if value is not None]
        if quantises or not all(constant(v) is not None or is_dequantised(v) for v in given):
            continue
        for index, value in enumerate(node.inputs):
            maker = None if value is None else value.producer()
            if value is not None and maker is not None and is_dequantised(value):
                floats = ir.tensor(dequantised(site_of(maker, model.opset_imports)))
                name = f"{value.name}, in floats"
                if name not in model.graph.initializers:
                    model.graph.register_initializer(ir.Value(
                        name=name, const_value=floats, type=ir.TensorType(floats.dtype),
                        shape=ir.Shape(floats.numpy().shape),
                    ))  # fmt: skip
                node.replace_input_with(index, model.graph.initializers[name])
    return model
