"""Comparator layers over the FP32 3x3 layer of equal width in ONNX Runtime.

Four pairs of taps of each channel are compared in windows of 3x3, of codes, and a 1x1 layer of the
bits is rounded to codes: with ``native`` the layer from codes to codes, beside it all its standard
operators in other engines, from floats to floats. One image, one thread, processor time,
interleaved; ratios are medians of pairs, with the interval that holds the true median at 95 %. A
second row has pairs of each channel's own:

    python -m benchmarks.comparator_layers
    python -m benchmarks.comparator_layers --layers 64@56 --weights 1 8
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from benchmarks.bitwise import Net, chain
from mlcnn.engines import available, get, interleave, ratio
from mlcnn.engines.arrays import fix_shapes
from mlcnn.engines.native.algorithms import MEASURED, Choosing
from mlcnn.engines.native.library import Op, load
from mlcnn.engines.native.lowering import lower
from mlcnn.engines.native.machine import machine_of
from mlcnn.engines.native.program import Program
from mlcnn.engines.processor import named
from mlcnn.graph import infer_shapes
from mlcnn.ops.comparator import SHARED, Pairs, drawn

__all__ = ["comparator_layer", "main", "native_layer"]

_LAYERS = ((64, 56), (128, 28), (256, 14))
_WEIGHTS = ("1", "2", "8", "floats")
_FEW_BITS, _EIGHT_BITS = {64: 8, 128: 10, 256: 12}, {64: 5, 128: 5, 256: 5}
_TARGETS = {"1": _FEW_BITS, "2": _FEW_BITS, "8": _EIGHT_BITS}
_PAIRS, _KERNEL = 4, (3, 3)
_END = np.iinfo(np.int64).max
_ENDS = frozenset({Op.QUANTISE, Op.PACK, Op.UNPACK, Op.DEQUANTISE})
_OTHERS = ("onnxruntime", "openvino")


def comparator_layer(channels: int, size: int, weights: str, *, shared: int = SHARED) -> ir.Model:
    """A network of one layer, rounded in front and behind.

    Args:
        channels: of the images, and filters.
        size: rows and columns.
        weights: bits of one, or ``floats``.
        shared: neighbouring channels that have the same pairs.
    """
    net, rng = Net(channels, size), np.random.default_rng(0)
    pairs = drawn(_PAIRS, channels, _KERNEL, shared=shared)
    bits = _compared(net, net.rounded(net.x, 8, 0.02), pairs)
    shape, spread = (channels, pairs.maps, 1, 1), 2 / pairs.maps**0.5
    if weights == "floats":
        weight = net.constant(rng.normal(0, spread, shape).astype(np.float32))
    else:
        most = 127 if weights == "8" else (1 << int(weights)) - 1
        codes = np.clip(2 * rng.integers(0, most + 1, shape) - most, -most, most).astype(np.int8)
        steps = np.full(channels, spread / most, np.float32)
        parts = codes, steps, np.zeros(channels, np.int8)
        weight = net.op("DequantizeLinear", *map(net.constant, parts), axis=0)
    return net.model(net.rounded(net.op("Relu", net.op("Conv", bits, weight)), 8, 0.02))


def _compared(net: Net, source: ir.Value, pairs: Pairs) -> ir.Value:
    """The bits of pairs of taps, as ``mlcnn optimize`` writes them."""
    around = net.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1]))
    padded = net.op("Pad", source, around, mode="edge")
    taps, places = np.unique(np.stack([pairs.first, pairs.second]), return_inverse=True)
    slices = list[ir.Value]()
    for tap in taps:
        place = divmod(int(tap), _KERNEL[1])
        ends = [at + 1 - side or _END for at, side in zip(place, _KERNEL, strict=True)]
        given = (list(place), ends, [2, 3], [1, 1])
        slices.append(net.op("Slice", padded, *(net.constant(np.array(one)) for one in given)))
    every = net.op("Concat", *slices, axis=1)
    at = places.reshape(2, *pairs.first.shape) * pairs.channels + np.arange(pairs.channels)
    first, second = (net.op("Gather", every, net.constant(one.reshape(-1)), axis=1) for one in at)
    return net.op("Cast", net.op("Greater", first, second), to=int(ir.DataType.FLOAT))


@dataclass(frozen=True, slots=True)
class _Native:
    """A layer's steps from codes to codes, and what they are."""

    program: Program
    kernel: str

    def runner(self) -> Callable[[], object]:
        return self.program.call([], 1)


def native_layer(model: ir.Model, march: str = "native") -> _Native:
    """The steps of a network's one layer, by the algorithm that is measured to be fastest."""
    library, machine = load(march), machine_of(march)
    sizes = [size for size in model.graph.inputs[0].shape or () if isinstance(size, int)]
    fixed = fix_shapes(model, {"x": sizes})
    infer_shapes(fixed)
    choose = Choosing(MEASURED, machine, 1, 0).chooser(library)
    steps = [each for each in lower(fixed, library, choose) if each.op not in _ENDS]
    return _Native(Program(steps, library), ", ".join(c.algorithm for c in choose.choices))


def _one_layer(channels: int, size: int, given: argparse.Namespace) -> None:
    x = np.random.default_rng(1).uniform(0, 5, (1, channels, size, size)).astype(np.float32)
    dense = get("onnxruntime").prepare(chain(channels, size, None, 1), threads=1).runner({"x": x})
    runners: dict[str, Callable[[], object]] = {"FP32 3x3": dense}
    kernels = dict[str, str]()
    for weights in given.weights:
        for pairs, shared in (("of 16 channels", SHARED), ("of each channel", 1)):
            model = comparator_layer(channels, size, weights, shared=shared)
            name = f"W{weights}, pairs {pairs}"
            layer = native_layer(model, given.march)
            runners[name], kernels[name] = layer.runner(), layer.kernel
            for engine in [e for e in _OTHERS if e in available() and shared == SHARED]:
                session = get(engine).prepare(model, threads=1)
                runners[f"{name}: {engine}"] = session.runner({"x": x})
    times = interleave(runners, budget_s=given.seconds, clock=time.process_time_ns)
    print(f"{channels}@{size}: FP32 3x3 {times['FP32 3x3'].median_ms:.3f} ms")
    for name in [one for one in runners if one != "FP32 3x3"]:
        over = ratio(times["FP32 3x3"], times[name])
        target = _TARGETS.get(name.partition(",")[0][1:], {}).get(channels)
        wanted = "" if target is None or name not in kernels else f"; at least {target}"
        kernel = f" ({kernels[name]})" if name in kernels else ""
        print(
            f"  {name}{kernel}: {times[name].median_ms:.3f} ms, {over.value:.2f} "
            f"({over.low:.2f} to {over.high:.2f}){wanted}",
            flush=True,
        )


def main() -> None:
    """Print how many times as fast as the FP32 layer each comparator layer is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="for each size")
    parser.add_argument("--layers", nargs="*", help="as 64@56: channels and rows")
    parser.add_argument("--weights", nargs="*", default=_WEIGHTS, help="bits, or floats")
    parser.add_argument("--march", default="native", help="compile the kernels for it, as gcc does")
    given = parser.parse_args()
    print(named())
    for layer in given.layers or [f"{c}@{s}" for c, s in _LAYERS]:
        channels, _, size = layer.partition("@")
        _one_layer(int(channels), int(size), given)


if __name__ == "__main__":
    main()
