"""Networks quantised by ONNX Runtime's static quantiser, on random calibration data."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

from mlcnn.graph import from_proto, to_proto

__all__ = ["images", "quantised"]


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
    """The network in QDQ form, weights in s8.

    Args:
        model: in float32, batch norms folded.
        activation: type of activations, as ONNX Runtime calls it.
        per_channel: whether each filter has its own scale.
        options: extra options of the quantiser.
    """
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
