"""Memory of a run from file to file, in a process of its own."""

import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

NETWORK = """<ir_version: 10, opset_import: ["": 20]> g (float[N,3,32,32] x) => (float[N,10] y) {
    c = Conv <pads = [1, 1, 1, 1]> (x, w)
    p = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (c)
    f = Flatten(p)  d = MatMul(f, first)  r = Relu(d)  y = MatMul(r, last) }"""
SCRIPT = """
import resource, sys
import mlcnn
mlcnn.optimize("lenet5").save(sys.argv[2])  # what every run takes, whatever the network
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
result = mlcnn.optimize(sys.argv[1], check=False)
result.save(sys.argv[2])
print(len(result.fused), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.long
def test_weights_are_in_memory_once(tmp_path):
    proto = onnx.parser.parse_model(NETWORK)
    random = np.random.default_rng(0)
    shapes = {"w": (32, 3, 3, 3), "first": (32 * 16 * 16, 2**15), "last": (2**15, 10)}
    for name, shape in shapes.items():
        weight = random.random(shape, np.float32) - np.float32(0.5)
        proto.graph.initializer.append(numpy_helper.from_array(weight, name))
    source, output = tmp_path / "large.onnx", tmp_path / "out.onnx"
    weights = sum(len(tensor.raw_data) for tensor in proto.graph.initializer)
    onnx.save(proto, source, save_as_external_data=True, location="large.bin")
    del proto

    command = [sys.executable, "-c", SCRIPT, str(source), str(output)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    fused, peak_kib = map(int, printed.split())

    assert fused == 1
    assert weights > 2**30
    assert peak_kib * 2**10 < 1.3 * weights
