"""A network of one node, which a custom operator of ONNX Runtime computes."""

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from mlcnn.engines.native.deploying.plan import Buffer, Plan
from mlcnn.engines.native.deploying.sources import domain_of

__all__ = ["custom_network"]

_OPSET = 20  # of the casts
_IR_VERSION = 9  # which every ONNX Runtime with these operators reads


def custom_network(plan: Plan, name: str) -> ModelProto:
    """The network as ONNX Runtime reads it, with its inputs and outputs as they are.

    Args:
        plan: what the operator runs; its stamp is an attribute, which the library checks.
        name: of the operator, in the domain ``mlcnn.native.NAME``.
    """
    before = [_cast(b, b.name, f"{b.name}, as floats", TensorProto.FLOAT) for b in plan.inputs]
    after = [
        _cast(b, f"{b.name}, as floats", b.name, helper.np_dtype_to_tensor_dtype(b.dtype))
        for b in plan.outputs
    ]
    given = [c.output[0] if c else b.name for b, c in zip(plan.inputs, before, strict=True)]
    made = [c.input[0] if c else b.name for b, c in zip(plan.outputs, after, strict=True)]
    node = helper.make_node(
        name, given, made, name=name, domain=domain_of(name), plan=plan.stamp, threads=plan.threads
    )
    nodes = [*before, node, *after]
    network = helper.make_graph(
        [each for each in nodes if each is not None], name,
        [_typed(buffer) for buffer in plan.inputs], [_typed(buffer) for buffer in plan.outputs],
    )  # fmt: skip
    return helper.make_model(
        network, producer_name="mlcnn", ir_version=_IR_VERSION,
        opset_imports=[helper.make_opsetid("", _OPSET), helper.make_opsetid(domain_of(name), 1)],
    )  # fmt: skip


def _cast(buffer: Buffer, given: str, made: str, to: int) -> NodeProto | None:
    """The cast between what a network takes or gives and floats; None where there is none."""
    if buffer.dtype == np.float32 or buffer.flags:
        return None
    return helper.make_node("Cast", [given], [made], to=to)


def _typed(buffer: Buffer):  # noqa: ANN202 - onnx does not name the type
    kind = helper.np_dtype_to_tensor_dtype(buffer.dtype)
    return helper.make_tensor_value_info(buffer.name, kind, buffer.shape)
