"""Layers of few bits in native, over ONNX Runtime in FP32 and in INT8, and fused with pools.

Chains of four 3x3 convolutions of as many channels, each rounded to codes of the bits; packing is
timed with them. With ``--pool`` one such layer, on planes of bits, over the same with a 2x2 mean
behind it, fused: sums of four codes are read, one result of four is computed. One image, one
thread, processor time, interleaved; ratios are medians of pairs. Behind each figure stands the
share of what this core's own instructions reach in registers: multiply-adds in FP32, AND with a
count of ones and an addition for planes, a shuffle and an addition for tables:

    python -m benchmarks.bitwise
    python -m benchmarks.bitwise --march haswell --bits 1,2
    python -m benchmarks.bitwise --pool
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

import numpy as np
import onnx_ir as ir

from benchmarks.interleaved import core_figures
from mlcnn.engines import get, interleave, ratio
from mlcnn.engines.arrays import fix_shapes
from mlcnn.engines.native import Native
from mlcnn.engines.native.algorithms import MEASURED, Chooser, Choosing
from mlcnn.engines.native.choice import Choice, Layer
from mlcnn.engines.native.kinds import Few
from mlcnn.engines.native.library import Library, Op, load
from mlcnn.engines.native.lowering import lower
from mlcnn.engines.native.machine import machine_of
from mlcnn.engines.native.program import Program
from mlcnn.engines.processor import named
from mlcnn.graph import infer_shapes, inline
from mlcnn.passes import pipeline

__all__ = ["Net", "chain", "main"]

_LAYERS = ((64, 56), (128, 28), (256, 14), (512, 7))
_BITS = ((1, 1), (1, 2), (2, 2), (1, 4), (4, 4))
_POOLED_LAYERS, _POOLED_BITS = _LAYERS[:3], ((1, 2), (1, 4))
_DEPTH = 4
_ROUNDS, _TIMES = 200_000, 5
_OF_A_LAYER = frozenset({Op.SUMS, Op.BITS, Op.TABLE, Op.CODES_CONV})
_OPS = {Op.BITS: "planes", Op.TABLE: "tables", Op.CODES_CONV: "int8"}


class Net:
    """A network put together node by node."""

    def __init__(self, channels: int, size: int) -> None:
        kind = ir.TensorType(ir.DataType.FLOAT)
        self.x = ir.Value(name="x", shape=ir.Shape([1, channels, size, size]), type=kind)
        self.nodes, self.constants = list[ir.Node](), list[ir.Value]()

    def constant(self, array: object) -> ir.Value:
        """An array of its own name."""
        tensor = ir.tensor(np.asarray(array), name=f"c{len(self.constants)}")
        value = ir.Value(
            name=tensor.name, const_value=tensor, shape=ir.Shape(np.asarray(array).shape),
            type=ir.TensorType(tensor.dtype),
        )  # fmt: skip
        self.constants.append(value)
        return value

    def op(
        self, kind: str, *inputs: ir.Value, **attributes: int | str | tuple[int, ...]
    ) -> ir.Value:
        """What a node of one result gives."""
        node = ir.node(kind, list(inputs), attributes or None, name=f"{kind}{len(self.nodes)}")
        node.outputs[0].name = f"v{len(self.nodes)}"
        self.nodes.append(node)
        return node.outputs[0]

    def rounded(self, value: ir.Value, bits: int, step: float) -> ir.Value:
        """A value rounded to codes of so many bits, none of them negative."""
        scale, zero = self.constant(np.float32(step)), self.constant(np.uint8(0))
        if bits < 8:
            most = self.constant(np.float32(step * ((1 << bits) - 1)))
            value = self.op("Clip", value, self.constant(np.float32(0)), most)
        return self.op(
            "DequantizeLinear", self.op("QuantizeLinear", value, scale, zero), scale, zero
        )

    def model(self, result: ir.Value) -> ir.Model:
        """The network with that result."""
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
    """So many layers; of floats where there are no bits, each in front of a 2x2 mean with ``pool``.

    The mean stands before what rounds, as ``reorder`` leaves it.
    """
    net, rng = Net(channels, size), np.random.default_rng(0)
    inputs = 9 * channels
    value = net.x if bits is None else net.rounded(net.x, bits[1], 1.0)
    for _ in range(depth):
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
        if pool:
            value = net.op("AveragePool", value, kernel_shape=(2, 2), strides=(2, 2))
        value = net.op("Relu", value)
        value = value if bits is None else net.rounded(value, bits[1], 1.0)
    return net.model(value)


@dataclass(frozen=True, slots=True)
class _Peaks:
    """What a core reaches in registers, in 1e9 products a second.

    Attributes:
        floats: multiply-adds in FP32.
        bits: products of bits that are counted.
        lookups: bytes that are looked up and added, each of four products with bits.
    """

    floats: float
    bits: float
    lookups: float

    def told(self, op: str, macs: int, ms: float, bits: tuple[int, int]) -> str:
        """The shares that a time reaches."""
        rate = macs / (ms * 1e6)
        shown = f"{rate / self.floats:.2f} of the peak in FP32"
        if op == "planes":
            return f"{shown}, {rate * bits[0] * bits[1] / self.bits:.2f} of that of planes"
        if op == "tables":
            return f"{shown}, {rate / (self.lookups * (4 // bits[0])):.2f} of that of tables"
        return shown


def _peaks(march: str) -> _Peaks:
    library = load(march)
    return _Peaks(
        core_figures().get("peak_gflops", float("nan")) / 2,
        *(_rate(partial(probe, _ROUNDS)) for probe in (library.count_bits, library.look_up)),
    )


def _rate(run: "partial[int]") -> float:
    """Of what a call says that it does, in 1e9 a second."""
    number, spent = run(), list[float]()
    for _ in range(_TIMES):
        start = time.perf_counter()
        run()
        spent.append(time.perf_counter() - start)
    return number / median(spent) / 1e9


def _compared(
    channels: int, size: int, bits: Sequence[tuple[int, int]], seconds: float, march: str
) -> None:
    x = np.random.default_rng(1).uniform(0, 3, (1, channels, size, size)).astype(np.float32)
    onnx_runtime = get("onnxruntime")
    networks = {"FP32": chain(channels, size, None), "INT8": _behind_codes(channels, size)}
    runners = {n: onnx_runtime.prepare(m, threads=1).runner({"x": x}) for n, m in networks.items()}
    kernels = dict[str, tuple[str, tuple[int, int]]]()
    for pair in bits:
        session = Native(march).prepare(chain(channels, size, pair))
        name = f"W{pair[0]}A{pair[1]}"
        runners[name] = session.runner({"x": x})
        kernels[name] = "/".join(sorted({each.algorithm for each in session.algorithms})), pair
    times = interleave(runners, budget_s=seconds, clock=time.process_time_ns)
    macs, peaks = _DEPTH * 9 * channels**2 * size**2, _peaks(march)
    floats, codes = (times[name].median_ms for name in networks)
    print(
        f"{channels}@{size}: FP32 {floats:.3f} ms ({peaks.told('', macs, floats, (0, 0))})", end=""
    )
    print(f", INT8 {codes:.3f} ms")
    for name, (kernel, pair) in kernels.items():
        ms = times[name].median_ms
        over = [ratio(times[base], times[name]) for base in ("FP32", "INT8")]
        told = " | ".join(f"{r.value:.2f} ({r.low:.2f} to {r.high:.2f})" for r in over)
        op = kernel.removeprefix("bit ")
        print(
            f"  {name} {kernel}: {ms:.3f} ms, {told}; {peaks.told(op, macs, ms, pair)}", flush=True
        )


def _planes(layers: Sequence[Layer]) -> list[Choice]:
    return [Choice(Few.PLANES, "asked for", dict.fromkeys(each.ways, 1.0)) for each in layers]


def _layer(model: ir.Model, library: Library, choose: Chooser) -> tuple[Program, str]:
    """The steps of a network's one layer, from codes to codes, and what computes it."""
    sizes = [size for size in model.graph.inputs[0].shape or () if isinstance(size, int)]
    fixed = fix_shapes(inline(model), {"x": sizes})
    infer_shapes(fixed)
    steps = [each for each in lower(fixed, library, choose) if each.op in _OF_A_LAYER]
    return Program(steps, library), "/".join(_OPS.get(each.op, "sums") for each in steps)


def _pooled(
    channels: int, size: int, bits: Sequence[tuple[int, int]], seconds: float, march: str
) -> None:
    library, machine = load(march), machine_of(march)
    print(f"{channels}@{size}:")
    for pair in bits:
        alone = _layer(
            chain(channels, size, pair, 1), library, Chooser(_planes, library, machine, [])
        )
        pooled = chain(channels, size, pair, 1, pool=True)
        fused = pipeline.run(pooled, pipeline.parse("exact"), verify=False).model
        choose = Choosing(MEASURED, machine, 1, 0).chooser(library)
        programs = {"alone": alone, "fused": _layer(fused, library, choose)}
        runners = {name: program.call([], 1) for name, (program, _) in programs.items()}
        times = interleave(runners, budget_s=seconds / len(bits), clock=time.process_time_ns)
        over = ratio(times["alone"], times["fused"])
        told = ", ".join(
            f"{name} ({programs[name][1]}) {times[name].median_ms:.3f} ms" for name in programs
        )
        print(
            f"  W{pair[0]}A{pair[1]}: {told}: {over.value:.2f} ({over.low:.2f} to {over.high:.2f})",
            flush=True,
        )


def _behind_codes(channels: int, size: int) -> ir.Model:
    """The chain in 8 bits as quantisers write it: biases within layers, as codes."""
    net, rng = Net(channels, size), np.random.default_rng(0)
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


def _pair(text: str) -> tuple[int, int]:
    weight, _, given = text.partition(",")
    return int(weight), int(given)


def main() -> None:
    """Print how many times as fast native is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="for each size")
    parser.add_argument("--layers", nargs="*", help="as 64@56: channels and rows")
    parser.add_argument("--bits", nargs="*", type=_pair, help="as 1,2: of weights and inputs")
    parser.add_argument("--march", default="native", help="compile the kernels for it, as gcc does")
    parser.add_argument("--pool", action="store_true", help="one layer alone over it and a pool")
    given = parser.parse_args()
    print(named())
    layers, bits = (_POOLED_LAYERS, _POOLED_BITS) if given.pool else (_LAYERS, _BITS)
    for layer in given.layers or [f"{c}@{s}" for c, s in layers]:
        channels, _, size = layer.partition("@")
        run = _pooled if given.pool else _compared
        run(int(channels), int(size), given.bits or bits, given.seconds, given.march)


if __name__ == "__main__":
    main()
