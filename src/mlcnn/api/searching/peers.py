"""What the user would have got from ONNX Runtime's own quantiser."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

from mlcnn.engines.processor import processor
from mlcnn.errors import UnsupportedError
from mlcnn.graph import from_proto, to_proto

__all__ = ["onnxruntime_int8"]


class _Images(CalibrationDataReader):
    def __init__(self, name: str, images: Iterator[NDArray[np.float32]]) -> None:
        self._name, self._images = name, images

    def get_next(self) -> Any:
        image = next(self._images, None)
        return None if image is None else {self._name: image}


def onnxruntime_int8(model: ir.Model, images: NDArray[np.float32]) -> ir.Model:
    """The network as ``onnxruntime.quantization.quantize_static`` makes it, as its page advises.

    Q/DQ, a scale for each filter, ranges from least to largest; weights of 7 bits where the
    processor has no VNNI, whose sums of two products would else saturate in 16 bits.

    Args:
        model: in float32.
        images: that ranges come from, as the network takes them.

    Raises:
        UnsupportedError: it does not take the network.
    """
    proto = to_proto(model)
    name = proto.graph.input[0].name
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "quantised.onnx"
        try:
            quantize_static(
                proto,
                path,
                _Images(name, (image[None] for image in images)),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                per_channel=True,
                reduce_range="VNNI" not in processor().get("instructions", ""),
            )
        except Exception as error:  # whatever it raises, the search goes on without it
            raise UnsupportedError(f"ONNX Runtime's quantiser: {error}") from error
        return from_proto(onnx.load(path))
