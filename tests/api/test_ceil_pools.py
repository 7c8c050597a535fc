"""Networks whose pools drop their last window: rewritten, saved, loaded and counted rightly."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

import mlcnn

MAX = "MaxPool <kernel_shape = [1, 1], strides = [2, 2], ceil_mode = 1>"
AVERAGE = "AveragePool <kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1>"
PADDED = "AveragePool <kernel_shape = [2, 2], strides = [2, 2], pads = [1, 1, 1, 1], ceil_mode = 1>"
VALID = 'AveragePool <kernel_shape = [2, 2], strides = [2, 2], auto_pad = "VALID", ceil_mode = 1>'
CONV = "Conv <pads = [1, 1, 1, 1]>"
# 12x12 images; every last window named here would start behind the image.
BODIES = {
    "before a convolution": f"p = {MAX} (x)  c = {CONV} (p, w)  y = {AVERAGE} (c)",
    "behind a convolution": "c = Conv (x, w)  d = Conv <strides = [2, 2]> (c, u)  "
    f"y = {PADDED} (d)",
    "beside a convolution": f"c = Conv (x, u)  a = {PADDED} (c)  d = {MAX} (x)  "
    "y = Concat <axis = 1> (a, d)",
    "valid": f"c = {CONV} (x, w)  d = Conv (c, v)  y = {VALID} (d)",
}


def network(name, opset=17):
    proto = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["": {opset}]> g (float[2,3,12,12] x) => (float[] y) '
        f"{{ {BODIES[name]} }}"
    )
    random = np.random.default_rng(0)
    arrays = {
        "w": random.normal(size=(3, 3, 3, 3)).astype(np.float32),
        "v": random.normal(size=(4, 3, 4, 4)).astype(np.float32),
        "u": random.normal(size=(4, 3, 2, 2)).astype(np.float32),
    }
    used = {value for node in proto.graph.node for value in node.input}
    proto.graph.initializer.extend(
        numpy_helper.from_array(array, key) for key, array in arrays.items() if key in used
    )
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    return proto


def run(source):
    session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).normal(size=(2, 3, 12, 12)).astype(np.float32)
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize("passes", ["exact", "distribute-pool,fuse{form=box}"])
@pytest.mark.parametrize("name", BODIES)
def test_the_saved_network_computes_the_same(name, passes, tmp_path):
    original = network(name)
    expected = run(original.SerializeToString())

    optimized = mlcnn.optimize(original, passes=passes)
    optimized.save(tmp_path / "out.onnx")

    assert optimized.fused
    found = run(tmp_path / "out.onnx")
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_layer_behind_a_dropped_window_is_counted_by_its_own_size():
    """12x12 become 6x6, not 7x7: 3 filters of 3x3x3 at 36 positions, for one of two images."""
    report = mlcnn.count(network("before a convolution"))

    total = report.to_json()["total"]["multiplications"]["original"]
    assert total == 2 * 3 * 27 * 36
