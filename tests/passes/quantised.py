"""Networks quantised by ONNX Runtime's static quantiser, on random calibration data."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

from mlcnn.graph import extract, from_proto, inline, to_proto
from mlcnn.passes import Change

__all__ = ["images", "one_step", "quantised", "run", "site_results"]


class _Random(CalibrationDataReader):
    def __init__(self, name: str, arrays: Iterator[np.ndarray]) -> None:
        self._name, self._arrays = name, arrays

    def get_next(self) -> dict[str, np.ndarray] | None:
        array = next(self._arrays, None)
        return None if array is None else {self._name: array}


def images(shape: tuple[int, ...], count: int = 8, *, seed: int = 1) -> Iterator[np.ndarray]:
    """What the networks here are calibrated on."""
    generator = np.random.default_rng(seed)
    return (generator.standard_normal(shape).astype(np.float32) for _ in range(count))


def quantised(
    model: ir.Model, *, activation: str = "QUInt8", per_channel: bool = True, **options: object
) -> ir.Model:
    """The network in QDQ form."""
    proto = to_proto(model)
    given = proto.graph.input[0]
    shape = tuple(dim.dim_value or 1 for dim in given.type.tensor_type.shape.dim)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "quantised.onnx"
        quantize_static(
            proto,
            path,
            _Random(given.name, images(shape)),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType[activation],
            weight_type=QuantType.QInt8,
            per_channel=per_channel,
            extra_options=options,
        )
        return from_proto(onnx.load(path))


def run(model: ir.Model, feeds: dict[str, np.ndarray], *inner: str) -> dict[str, np.ndarray]:
    """Values of a network in ONNX Runtime, as it is: inner ones are outputs beside the others."""
    proto = to_proto(inline(model))
    known = {output.name for output in proto.graph.output}
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inner if name not in known)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(proto.SerializeToString(), options)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def site_results(
    before: ir.Model, after: ir.Model, change: Change, values: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """The rounded output of one site in both networks, for the same input."""
    pooled = next(v for n in before.graph for v in n.outputs if v.name == change.outputs[0])
    codes = pooled.consumers()[0].outputs[0]
    output = codes.consumers()[0].outputs[0].name
    feeds = {name: values[name] for name in change.inputs}
    found = [run(extract(m, change.inputs, [output]), feeds)[output] for m in (before, after)]
    return found[0], found[1]


def one_step(before: ir.Model, change: Change) -> float:
    """A step of the coarser one of the two quantisers of a site: the convolution's and the pool's.

    Rounded by the one, averaged and rounded by the other, against rounded by the other alone: half
    a step of the one, and what that makes of a rounding.
    """
    pool = next(n for n in before.graph if n.outputs[0].name == change.outputs[0])
    pairs = (pool.inputs[0].producer(), pool.outputs[0].consumers()[0])
    return max(float(node.inputs[1].const_value.numpy()) for node in pairs)
