"""An ONNX message written piece by piece, so that the weights are never copied.

A protobuf message is its fields, one after the other, each with its number and, for what is no
number, its length: the weights go straight from their arrays to the file.
"""

import sys
from typing import BinaryIO

import numpy as np
import onnx
import onnx_ir as ir

from mlcnn.graph.structure import tensor_bytes

__all__ = ["elements", "write_message"]

_GRAPH = onnx.ModelProto.DESCRIPTOR.fields_by_name["graph"].number
_INITIALIZER = onnx.GraphProto.DESCRIPTOR.fields_by_name["initializer"].number
_RAW_DATA = onnx.TensorProto.DESCRIPTOR.fields_by_name["raw_data"].number
_LENGTH_DELIMITED = 2
_SMALL = 1024


def write_message(model: ir.Model, file: BinaryIO) -> None:
    """Write a network as one ONNX message.

    Args:
        model: the network; it is used up: its larger weights leave it.
        file: where to; it is not closed.

    Raises:
        OSError: it cannot be written.
    """
    large = {
        name: tensor
        for name, value in model.graph.initializers.items()
        if (tensor := value.const_value) is not None and _is_large(tensor)
    }
    for name in large:  # everything that belongs to the weight but its elements is written as it is
        model.graph.initializers[name].const_value = ir.Tensor(np.zeros(0, np.uint8), name=name)
    proto = ir.to_proto(model)
    parts = [
        (_head(item.name, large[item.name]), large[item.name])
        if item.name in large
        else (item.SerializeToString(), None)
        for item in proto.graph.initializer
    ]
    proto.graph.ClearField("initializer")
    graph = proto.graph.SerializeToString()
    proto.ClearField("graph")
    sizes = [len(head) + (0 if tensor is None else tensor.nbytes) for head, tensor in parts]
    tags = [_tag(_INITIALIZER, size) for size in sizes]
    file.write(proto.SerializeToString())
    file.write(_tag(_GRAPH, len(graph) + sum(sizes) + sum(map(len, tags))) + graph)
    for tag, (head, tensor) in zip(tags, parts, strict=True):
        file.write(tag + head)
        if tensor is not None:
            file.write(elements(tensor))


def elements(tensor: ir.TensorProtocol) -> memoryview | bytes:
    """A constant's elements as files hold them: little-endian, and not copied where they are so.

    Args:
        tensor: the constant; no text.
    """
    if tensor.dtype.bitwidth < 8 or sys.byteorder != "little":
        return tensor.tobytes()
    array = np.ascontiguousarray(tensor.numpy())
    return array.reshape(-1).view(np.uint8).data


def _is_large(tensor: ir.TensorProtocol) -> bool:
    if isinstance(tensor, ir.ExternalTensor) or tensor.dtype == ir.DataType.STRING:
        return False
    return tensor_bytes(tensor) > _SMALL


def _head(name: str, tensor: ir.TensorProtocol) -> bytes:
    """A tensor's message up to its elements."""
    proto = onnx.TensorProto(
        name=name,
        data_type=tensor.dtype.value,
        dims=tensor.shape.numpy(),
        doc_string=tensor.doc_string,
    )
    for key, value in tensor.metadata_props.items():
        proto.metadata_props.add(key=key, value=value)
    return proto.SerializeToString() + _tag(_RAW_DATA, tensor.nbytes)


def _tag(field: int, length: int) -> bytes:
    """What stands in front of a field of ``length`` bytes."""
    return _varint(field << 3 | _LENGTH_DELIMITED) + _varint(length)


def _varint(value: int) -> bytes:
    """Seven bits a byte, lowest first; all but the last have the highest bit set."""
    result = bytearray()
    while value > 0x7F:
        result.append(value & 0x7F | 0x80)
        value >>= 7
    result.append(value)
    return bytes(result)
