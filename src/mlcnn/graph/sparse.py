"""Weights of which a file keeps the numbers that are not zero, and where they stand."""

import math
from collections.abc import Iterator

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from mlcnn.errors import InputError, UnsupportedError
from mlcnn.graph.memory import require_memory

__all__ = ["check_sparse", "make_sparse", "with_dense_weights"]

_INDEX_BYTES = 8


def check_sparse(sparse: onnx.SparseTensorProto, where: str, what: str) -> None:
    """Check that the places of the numbers go with the shape.

    Args:
        sparse: its two tensors have passed the checks of dense ones.
        where: the file or object it came from, for messages.
        what: the subject of the message.

    Raises:
        InputError: they contradict it, or the dense weight needs more memory than there is.
        UnsupportedError: it is stored in another file.
    """
    values, indices, dims = sparse.values, sparse.indices, tuple(sparse.dims)
    if onnx.TensorProto.EXTERNAL in {values.data_location, indices.data_location}:
        raise UnsupportedError(f"{where}: {what} is sparse and in another file; store it inside")
    if not dims or min(dims) < 1:
        raise InputError(f"{where}: {what} is sparse and has the shape {list(dims)}")
    count, shape = math.prod(values.dims), tuple(indices.dims)
    if len(values.dims) != 1 or shape not in {(count,), (count, len(dims))}:
        raise InputError(
            f"{where}: {what} of shape {list(dims)} is sparse and has {list(values.dims)} values "
            f"at {list(shape)} places: [n] values at [n] or [n, {len(dims)}] places are required"
        )
    if indices.data_type != onnx.TensorProto.INT64:
        raise InputError(f"{where}: the places of {what} are no 64-bit integers")
    require_memory(
        math.prod(dims) * numpy_helper.to_array(values).itemsize,
        f"{where}: {what} of shape {list(dims)}", "use a machine with more memory",
    )  # fmt: skip
    places = _places(sparse)
    if count and (places.min() < 0 or places.max() >= math.prod(dims)):
        raise InputError(f"{where}: {what} of shape {list(dims)} has values outside of that")
    if len(np.unique(places)) < count:
        raise InputError(f"{where}: {what} has two values at one place")


def with_dense_weights(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The message with every sparse weight written out; itself where there are none.

    Args:
        proto: a message that has been checked; it is not changed.
    """
    if not any(graph.sparse_initializer for graph in _graphs(proto.graph)):
        return proto
    dense = onnx.ModelProto()
    dense.CopyFrom(proto)
    for graph in _graphs(dense.graph):
        for sparse in graph.sparse_initializer:
            given = numpy_helper.to_array(sparse.values)
            array = np.zeros(math.prod(sparse.dims), given.dtype)
            array[_places(sparse)] = given
            tensor = graph.initializer.add(name=sparse.values.name, dims=sparse.dims)
            tensor.data_type = sparse.values.data_type
            tensor.raw_data = array.tobytes()
        del graph.sparse_initializer[:]
    return dense


def make_sparse(proto: onnx.ModelProto) -> None:
    """Keep of each weight what is not zero, in place, where that is smaller.

    A number takes eight bytes more so: for its place.

    Args:
        proto: a message with all data inside.
    """
    graph = proto.graph
    fixed = {value.name for value in (*graph.input, *graph.output)}
    for tensor in [*graph.initializer]:
        if tensor.name in fixed or tensor.data_type not in _FLOATS or not tensor.dims:
            continue
        array = numpy_helper.to_array(tensor)
        (places,) = np.nonzero(array.reshape(-1))
        if len(places) * (array.itemsize + _INDEX_BYTES) >= array.nbytes:
            continue
        values = numpy_helper.from_array(array.reshape(-1)[places], tensor.name)
        indices = numpy_helper.from_array(places.astype(np.int64), f"{tensor.name}.places")
        sparse = onnx.helper.make_sparse_tensor(values, indices, list(tensor.dims))
        graph.sparse_initializer.append(sparse)
        graph.initializer.remove(tensor)


_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16)


def _places(sparse: onnx.SparseTensorProto) -> NDArray[np.int64]:
    """One number for each place, in rows; -1 for those outside."""
    indices = numpy_helper.to_array(sparse.indices)
    if indices.ndim == 1:
        return indices
    dims = np.array(sparse.dims, np.int64)
    strides = np.append(np.cumprod(dims[:0:-1])[::-1], 1)
    outside = ((indices < 0) | (indices >= dims)).any(1)
    return np.where(outside, -1, indices @ strides)


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            bodies = [attribute.g] if attribute.HasField("g") else []
            for body in (*bodies, *attribute.graphs):
                yield from _graphs(body)
