"""Chains of layers of few bits in native, over ONNX Runtime in FP32 and in INT8.

Four 3x3 convolutions of as many channels, each rounded to codes of the bits; packing is timed with
them. One image, one thread, processor time, interleaved; ratios are medians of pairs:

    python -m benchmarks.bitwise
    python -m benchmarks.bitwise --bits 1,2 --pool
"""

import argparse
import time
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from benchmarks.interleaved import core_figures
from mlcnn.engines import get, interleave, ratio
from mlcnn.engines.native import Native
from mlcnn.engines.processor import named
from mlcnn.graph import infer_shapes

__all__ = ["chain", "main"]

_LAYERS = ((64, 56), (128, 28), (256, 14), (512, 7))
_BITS = ((1, 1), (1, 2), (2, 2), (1, 4), (4, 4))
_DEPTH = 4


class _Net:
    """A network put together node by node."""

    def __init__(self, channels: int, size: int) -> None:
        kind = ir.TensorType(ir.DataType.FLOAT)
        self.x = ir.Value(name="x", shape=ir.Shape([1, channels, size, size]), type=kind)
        self.nodes, self.constants = list[ir.Node](), list[ir.Value]()

    def constant(self, array: object) -> ir.Value:
        tensor = ir.tensor(np.asarray(array), name=f"c{len(self.constants)}")
        value = ir.Value(
            name=tensor.name, const_value=tensor, shape=ir.Shape(np.asarray(array).shape),
            type=ir.TensorType(tensor.dtype),
        )  # fmt: skip
        self.constants.append(value)
        return value

    def op(self, kind: str, *inputs: ir.Value, **attributes: int | tuple[int, ...]) -> ir.Value:
        node = ir.node(kind, list(inputs), attributes or None, name=f"{kind}{len(self.nodes)}")
        node.outputs[0].name = f"v{len(self.nodes)}"
        self.nodes.append(node)
        return node.outputs[0]

    def rounded(self, value: ir.Value, bits: int, step: float) -> ir.Value:
        scale, zero = self.constant(np.float32(step)), self.constant(np.uint8(0))
        if bits < 8:
            most = self.constant(np.float32(step * ((1 << bits) - 1)))
            value = self.op("Clip", value, self.constant(np.float32(0)), most)
        return self.op(
            "DequantizeLinear", self.op("QuantizeLinear", value, scale, zero), scale, zero
        )

    def model(self, result: ir.Value) -> ir.Model:
        graph = ir.Graph(
            [self.x], [result], nodes=self.nodes, initializers=self.constants,
            opset_imports={"": 21}, name="chain",
        )  # fmt: skip
        model = ir.Model(graph, ir_version=10)
        infer_shapes(model)
        result.type = ir.TensorType(ir.DataType.FLOAT)
        return model


def chain(
    channels: int,
    size: int,
    bits: tuple[int, int] | None,
    depth: int = _DEPTH,
    *,
    pool: bool = False,
) -> ir.Model:
    """So many layers; of floats where there are no bits, each behind a 2x2 mean with ``pool``."""
    net, rng = _Net(channels, size), np.random.default_rng(0)
    inputs = 9 * channels
    value = net.x if bits is None else net.rounded(net.x, bits[1], 1.0)
    for _ in range(depth):
        if pool:
            value = net.op("AveragePool", value, kernel_shape=(2, 2), strides=(1, 1))
        if bits is None:
            weight = net.constant(
                rng.normal(0, inputs**-0.5, (channels, channels, 3, 3)).astype(np.float32)
            )
        else:
            most = 127 if bits[0] == 8 else (1 << bits[0]) - 1
            codes = np.clip(
                2 * rng.integers(0, most + 1, (channels, channels, 3, 3)) - most, -most, most
            )
            steps = np.full(channels, 2 / (most * inputs**0.5), np.float32)
            parts = codes.astype(np.int8), steps, np.zeros(channels, np.int8)
            weight = net.op("DequantizeLinear", *map(net.constant, parts), axis=0)
        bias = net.constant(np.full((channels, 1, 1), 0.5, np.float32))
        value = net.op("Add", net.op("Conv", value, weight, pads=(1, 1, 1, 1)), bias)
        value = net.op("Relu", value)
        value = value if bits is None else net.rounded(value, bits[1], 1.0)
    return net.model(value)


def _compared(channels: int, size: int, bits: Sequence[tuple[int, int]], seconds: float) -> None:
    x = np.random.default_rng(1).uniform(0, 3, (1, channels, size, size)).astype(np.float32)
    onnx_runtime = get("onnxruntime")
    networks = {"FP32": chain(channels, size, None), "INT8": _behind_codes(channels, size)}
    runners = {n: onnx_runtime.prepare(m, threads=1).runner({"x": x}) for n, m in networks.items()}
    kernels = dict[str, str]()
    for weight, given in bits:
        session = Native().prepare(chain(channels, size, (weight, given)))
        name = f"W{weight}A{given}"
        runners[name] = session.runner({"x": x})
        kernels[name] = "/".join(sorted({each.algorithm for each in session.algorithms}))
    times = interleave(runners, budget_s=seconds, clock=time.process_time_ns)
    macs = _DEPTH * 9 * channels**2 * size**2
    peak = core_figures().get("peak_gflops", float("nan")) / 2
    floats, codes = (times[name].median_ms for name in networks)
    share = _share(floats, macs, peak)
    print(f"{channels}@{size}: FP32 {floats:.3f} ms ({share:.2f} of peak), INT8 {codes:.3f} ms")
    for name, kernel in kernels.items():
        ms = times[name].median_ms
        over = [ratio(times[base], times[name]) for base in ("FP32", "INT8")]
        told = " | ".join(f"{r.value:.2f} ({r.low:.2f} to {r.high:.2f})" for r in over)
        reached = f"{_share(ms, macs, peak):.2f} of the peak in FP32"
        print(f"  {name} {kernel}: {ms:.3f} ms, {told}; {reached}", flush=True)


def _behind_codes(channels: int, size: int) -> ir.Model:
    """The chain in 8 bits as quantisers write it: biases within layers, as codes."""
    net, rng = _Net(channels, size), np.random.default_rng(0)
    value = net.rounded(net.x, 8, 0.02)
    for _ in range(_DEPTH):
        codes = rng.integers(-127, 128, (channels, channels, 3, 3)).astype(np.int8)
        steps = np.full(channels, 2 / (127 * (9 * channels) ** 0.5), np.float32)
        zeros = np.zeros(channels, np.int8)
        weight = net.op("DequantizeLinear", *map(net.constant, (codes, steps, zeros)), axis=0)
        biases = (
            np.full(channels, 10, np.int32),
            steps * np.float32(0.02),
            np.zeros(channels, np.int32),
        )
        bias = net.op("DequantizeLinear", *map(net.constant, biases), axis=0)
        value = net.op("Relu", net.op("Conv", value, weight, bias, pads=(1, 1, 1, 1)))
        value = net.rounded(value, 8, 0.02)
    return net.model(value)


def _share(ms: float, macs: int, peak: float) -> float:
    """Multiply-adds a second over the core's peak in FP32, in 1e9 a second."""
    return macs / (ms * 1e6) / peak


def main() -> None:
    """Print how many times as fast native is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="for each size")
    parser.add_argument("--layers", nargs="*", default=[f"{c}@{s}" for c, s in _LAYERS])
    given = parser.parse_args()
    print(named())
    for layer in given.layers:
        channels, _, size = layer.partition("@")
        _compared(int(channels), int(size), _BITS, given.seconds)


if __name__ == "__main__":
    main()
