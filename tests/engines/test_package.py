"""Networks as messages and as files, and engines' messages in one line."""

import gc
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from mlcnn import engines
from mlcnn.engines import onnx_runtime, open_vino
from mlcnn.engines.package import Packaged, shortened, weight_bytes

OPENVINO = (
    "Exception from src/core.cpp:9:\nCheck 'ok' failed at src/f.cpp:12:\n"
    "Summary:\n-- No rule for X\nTo facilitate, read on\n\n"
)


def test_weights_are_counted_in_bytes(convolution) -> None:
    assert weight_bytes(convolution) == 4 * (4 * 3 * 3 * 3 + 4)


def test_a_small_network_is_one_message(convolution) -> None:
    assert isinstance(Packaged(convolution).source, bytes)


def test_a_large_network_is_a_file_as_long_as_it_is_used(
    monkeypatch, convolution, conv_weights
) -> None:
    """In each engine as it sets itself up: OpenVINO alone would use bfloat16 on some CPUs."""
    image = {"image": np.random.default_rng(0).standard_normal((1, 3, 8, 8), np.float32)}
    (expected,) = engines.get("onnxruntime").prepare(convolution).run(image).values()
    paths: list[Path] = []

    def in_a_file(model: ir.Model, *, foreign: bool = False) -> Packaged:
        packaged = Packaged(model, foreign=foreign, limit=1)
        paths.append(Path(str(packaged.source)))
        return packaged

    for name, module in (("onnxruntime", onnx_runtime), ("openvino", open_vino)):
        monkeypatch.setattr(module, "Packaged", in_a_file)
        session = engines.get(name).prepare(convolution)
        # A float of the weights lies in the file beside, so the message itself stays small.
        beside = paths[-1].with_name("network.weights").read_bytes()
        assert conv_weights[0].tobytes() in beside
        (found,) = session.run(image).values()
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
        del session
        gc.collect()
        assert not paths[-1].exists()
    assert len(paths) == 2


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
