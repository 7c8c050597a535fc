"""What the user would have got from ONNX Runtime's own quantiser."""

import tempfile
from collections.abc import Iterable, Iterator
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

__all__ = ["onnxruntime_int8", "statically_quantised"]


class _Images(CalibrationDataReader):
    def __init__(self, name: str, images: Iterator[NDArray[np.float32]]) -> None:
        self._name, self._images = name, images

    def get_next(self) -> Any:
        image = next(self._images, None)
        return None if image is None else {self._name: image}


def onnxruntime_int8(model: ir.Model, images: Iterable[NDArray[np.float32]]) -> ir.Model:
    """The network as ONNX Runtime's own quantiser makes it, used as its page advises.

    Q/DQ, a scale for each filter, ranges from least to largest; weights of 7 bits where the
    processor has no VNNI, whose sums of two products would else saturate in 16 bits.

    Args:
        model: in float32.
        images: that ranges come from, each a batch as the network takes it.

    Raises:
        UnsupportedError: it does not take the network.
    """
    has_vnni = "VNNI" in processor().get("instructions", "")
    try:
        return statically_quantised(model, images, reduce_range=not has_vnni)
    except Exception as error:  # whatever it raises, the search goes on without it
        raise UnsupportedError(f"ONNX Runtime's quantiser: {error}") from error


def statically_quantised(
    model: ir.Model,
    images: Iterable[NDArray[np.float32]],
    *,
    activation: str = "QUInt8",
    per_channel: bool = True,
    reduce_range: bool = False,
    **options: object,
) -> ir.Model:
    """What ``onnxruntime.quantization.quantize_static`` makes of a network: Q/DQ, weights in s8.

    Args:
        model: in float32.
        images: that ranges come from, each a batch as the network takes it.
        activation: type of activations, as ONNX Runtime calls it.
        per_channel: whether each filter has its own scale.
        reduce_range: weights of 7 bits.
        options: extra options of the quantiser.
    """
    proto = to_proto(model)
    name = proto.graph.input[0].name
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "quantised.onnx"
        quantize_static(
            proto,
            path,
            _Images(name, iter(images)),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType[activation],
            weight_type=QuantType.QInt8,
            per_channel=per_channel,
            reduce_range=reduce_range,
            extra_options=options,
        )
        return from_proto(onnx.load(path))
