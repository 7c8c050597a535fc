"""Networks as messages and as files, and engines' messages in one line."""

from pathlib import Path

import numpy as np
import onnxruntime
import openvino
import pytest

from mlcnn.engines.package import Packaged, shortened, weight_bytes

OPENVINO = (
    "Exception from src/core.cpp:9:\nCheck 'ok' failed at src/f.cpp:12:\n"
    "Summary:\n-- No rule for X\nTo facilitate, read on\n\n"
)


def test_weights_are_counted_in_bytes(convolution) -> None:
    assert weight_bytes(convolution) == 4 * (4 * 3 * 3 * 3 + 4)


def test_a_small_network_is_one_message(convolution) -> None:
    assert isinstance(Packaged(convolution).source, bytes)


def test_a_large_network_is_a_file_as_long_as_it_is_used(convolution, conv_weights) -> None:
    packaged = Packaged(convolution, limit=1)
    path = Path(str(packaged.source))
    # A float of the weights lies in the file beside, so the message itself stays small.
    beside = path.with_name("network.weights").read_bytes()
    assert conv_weights[0].tobytes() in beside
    image = np.random.default_rng(0).standard_normal((1, 3, 8, 8), np.float32)
    whole = onnxruntime.InferenceSession(
        Packaged(convolution).source, providers=["CPUExecutionProvider"]
    )
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(str(path)), "CPU")
    expected = whole.run(None, {"image": image})[0]
    np.testing.assert_array_equal(session.run(None, {"image": image})[0], expected)
    np.testing.assert_allclose(compiled([image])[0], expected, atol=1e-5)
    del packaged
    assert not path.exists()


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : Could not find X(20)",
            "[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : Could not find X(20)",
        ),
        (
            OPENVINO,
            "No rule for X",
        ),
        ("at src/deep/file.cc:12 it broke", "at it broke"),
        ("", "ValueError"),
        ("x" * 500, "x" * 237 + "..."),
    ],
)
def test_messages_become_one_line(message: str, expected: str) -> None:
    assert shortened(ValueError(message)) == expected
