"""What the tests of loading and saving share."""

from collections.abc import Callable, Mapping

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

Run = Callable[[onnx.ModelProto, Mapping[str, np.ndarray]], list[np.ndarray]]


@pytest.fixture(autouse=True)
def one_thread():
    """Two cores run the whole suite."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def run() -> Run:
    """Run a model in ONNX Runtime, without its own graph optimisations."""

    def run(model: onnx.ModelProto, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, ["CPUExecutionProvider"]
        )
        return session.run(None, dict(inputs))

    return run
