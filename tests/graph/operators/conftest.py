"""Runs one ONNX node in ONNX Runtime and with ``mlcnn.graph.evaluate``."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch
from onnx import helper

from mlcnn.graph.evaluate import evaluate

Arrays = Sequence[np.ndarray | None]


def node_model(op_type: str, inputs: Arrays, outputs: int, opset: int, **attrs: Any):
    names = [f"in{i}" if array is not None else "" for i, array in enumerate(inputs)]
    results = [f"out{i}" for i in range(outputs)]
    node = helper.make_node(op_type, names, results, name="the_node", **attrs)
    formal = [
        helper.make_tensor_value_info(
            f"in{i}", helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
        )
        for i, array in enumerate(inputs)
        if array is not None
    ]
    actual = [helper.make_empty_tensor_value_info(name) for name in results]
    graph = helper.make_graph([node], "graph", formal, actual)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    return onnx.shape_inference.infer_shapes(model)


def run_both(op_type: str, inputs: Arrays, *, outputs: int = 1, opset: int = 20, **attrs: Any):
    """(ONNX Runtime's outputs, ours in float64)."""
    inputs = [None if array is None else np.asarray(array) for array in inputs]
    proto = node_model(op_type, inputs, outputs, opset, **attrs)
    given = {f"in{i}": array for i, array in enumerate(inputs) if array is not None}
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(proto.SerializeToString(), options)
    expected = session.run(None, given)
    tensors = {name: torch.from_numpy(array) for name, array in given.items()}
    actual = evaluate(ir.serde.deserialize_model(proto), tensors)
    return expected, [actual[f"out{i}"].numpy() for i in range(outputs)]


@pytest.fixture(scope="session")
def ours() -> Callable[..., Any]:
    """Our outputs alone."""

    def run(op_type: str, inputs: Arrays, *, outputs: int = 1, opset: int = 20, **attrs: Any):
        proto = node_model(op_type, inputs, outputs, opset, **attrs)
        tensors = {
            f"in{i}": torch.from_numpy(np.asarray(array))
            for i, array in enumerate(inputs)
            if array is not None
        }
        result = evaluate(ir.serde.deserialize_model(proto), tensors)
        return [result[f"out{i}"].numpy() for i in range(outputs)]

    return run


@pytest.fixture(scope="session")
def both() -> Callable[..., Any]:
    return run_both


@pytest.fixture(scope="session")
def agree() -> Callable[..., None]:
    def check(op_type: str, inputs: Arrays, **options: Any) -> None:
        expected, actual = run_both(op_type, inputs, **options)
        for theirs, ours in zip(expected, actual, strict=True):
            assert ours.shape == theirs.shape
            if theirs.dtype.kind == "f":
                assert ours.dtype == np.float64
                scale = max(np.abs(theirs[np.isfinite(theirs)]).max(initial=0.0), 1e-3)
                np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * scale)
            else:
                assert ours.dtype == theirs.dtype
                np.testing.assert_array_equal(ours, theirs)

    return check
