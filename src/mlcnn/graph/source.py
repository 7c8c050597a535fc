"""The file that a network was loaded from: what is written where there was nothing to do."""

import filecmp
import shutil
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx_ir as ir
from onnx.external_data_helper import uses_external_data

from mlcnn.errors import InputError
from mlcnn.graph.saving import check_output, replacing

__all__ = ["copy_source", "remember_source"]

_KEY = "mlcnn.source"


@dataclass(frozen=True, slots=True)
class _Source:
    path: Path
    stamp: tuple[int, int]


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def remember_source(model: ir.Model, path: Path) -> None:
    """Note the file that a network was loaded from, in memory only.

    Args:
        model: the network as it was loaded.
        path: its file.
    """
    model.meta[_KEY] = _Source(path.absolute(), _stamp(path))


def copy_source(model: ir.Model, path: str | Path) -> bool:
    """Write a network as the file that it came from, byte for byte.

    Weights beside the file come along; they keep their name unless another file has it.

    Args:
        model: the network as it was loaded, unchanged.
        path: the file to write.

    Returns:
        Whether that was possible: not for a network that came from no ``.onnx`` file, or whose
        file has changed since.

    Raises:
        InputError: the file cannot be written.
    """
    source = model.meta.get(_KEY)
    path = check_output(path)
    if not isinstance(source, _Source):
        return False
    try:
        if _stamp(source.path) != source.stamp:
            return False
        proto = onnx.load_model(source.path, load_external_data=False)
    except OSError:
        return False
    try:
        _copy(source.path, proto, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error
    return True


def _copy(source: Path, proto: onnx.ModelProto, path: Path) -> None:
    moved: dict[str, str] = {}
    for location in sorted(_locations(proto)):
        data = source.parent / location
        target = path.parent / location
        if target.exists() and not target.samefile(data) and not filecmp.cmp(target, data, False):
            moved[location] = f"{path.name}.{len(moved)}.data"
            target = path.with_name(moved[location])
        if not (target.exists() and target.samefile(data)):
            target.parent.mkdir(parents=True, exist_ok=True)
            with data.open("rb") as old, replacing(target) as new:
                shutil.copyfileobj(old, new)
    with replacing(path) as new:
        if not moved:
            with source.open("rb") as old:
                shutil.copyfileobj(old, new)
            return
        for entry in _entries(proto):
            entry.value = moved.get(entry.value, entry.value)
        new.write(proto.SerializeToString())


def _entries(proto: onnx.ModelProto) -> list[onnx.StringStringEntryProto]:
    """Where the tensors say in which file their data is."""
    found: list[onnx.StringStringEntryProto] = []
    graphs = [proto.graph]
    while graphs:
        graph = graphs.pop()
        for tensor in filter(uses_external_data, graph.initializer):
            found.extend(entry for entry in tensor.external_data if entry.key == "location")
        for node in graph.node:
            for attribute in node.attribute:
                graphs.extend([attribute.g] if attribute.HasField("g") else attribute.graphs)
    return found


def _locations(proto: onnx.ModelProto) -> set[str]:
    return {entry.value for entry in _entries(proto)}
