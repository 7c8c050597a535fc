"""Compare a network before and after on inputs that a user brings."""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from mlcnn import engines
from mlcnn.api.checking import at_sites
from mlcnn.api.loading import alike, by_x
from mlcnn.api.optimized import Optimized
from mlcnn.errors import InputError
from mlcnn.graph import Difference, difference
from mlcnn.table import Shown, Tabular

__all__ = ["Comparison", "compare", "read_inputs"]


@dataclass(frozen=True, slots=True, repr=False)
class Comparison(Tabular):
    """The outputs before and after, on the user's own input."""

    outputs: tuple[Difference, ...]

    def to_json(self) -> list[dict[str, object]]:
        """A row for each output."""
        return [
            {"output": row.name, "max_difference": row.max_difference, "relative": row.relative}
            for row in self.outputs
        ]

    def records(self) -> list[dict[str, Any]]:
        """A row for each output."""
        return [{**row} for row in self.to_json()]

    def shown(self) -> Shown:
        """How far each output is from what it was."""
        rows = tuple(
            (row.name, f"{row.max_difference:.2e}", f"{row.relative:.1e}") for row in self.outputs
        )
        return Shown("on the given input", ("output", "differs by", "of the largest"), rows)


def read_inputs(path: Path, model: ir.Model) -> dict[str, np.ndarray]:
    """Inputs of a network from an ``.npz`` file.

    Args:
        path: arrays by input name; a network of one input takes the file's one array, whatever
            its name.
        model: the network.

    Raises:
        InputError: the file cannot be read, or its arrays are not what the network takes.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise InputError(f"{path}: one array; an .npz file of arrays by name is required")
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not a readable .npz file of plain arrays ({error})") from error
    values = model.graph.inputs
    if len(values) == 1 and len(arrays) == 1:
        arrays = {values[0].name or "": next(iter(arrays.values()))}
    names = [value.name or "" for value in values]
    if set(arrays) != set(names):
        raise InputError(
            f"{path}: has {', '.join(sorted(arrays)) or 'no arrays'}; the network's inputs are "
            f"{', '.join(names)}"
        )
    return {value.name or "": _fitted(path, arrays[value.name or ""], value) for value in values}


def _fitted(path: Path, array: np.ndarray, value: ir.Value) -> np.ndarray:
    """``array`` in the input's type, if it fits its shape."""
    if value.shape is not None and not alike(value.shape.dims, array.shape):
        raise InputError(
            f"{path}: {value.name} has shape {by_x(array.shape)}, "
            f"the network takes {by_x(value.shape.dims)}"
        )
    if value.dtype is None:
        return array
    wanted = value.dtype.numpy()
    if not np.can_cast(array.dtype, wanted, casting="same_kind"):
        raise InputError(f"{path}: {value.name} holds {array.dtype}, the network takes {wanted}")
    return array.astype(wanted, copy=False)


def compare(optimized: Optimized, inputs: Mapping[str, np.ndarray]) -> Comparison:
    """Run the network before and after in ONNX Runtime and compare the outputs.

    Args:
        optimized: a rewritten network.
        inputs: an array for each input, by name.

    Raises:
        InputError: only exact passes ran, and an output differs by more than rounding explains.
    """
    engine = engines.get("onnxruntime")
    before = engine.prepare(optimized.original).run(dict(inputs))
    after = engine.prepare(optimized.model).run(dict(inputs))
    rows = tuple(difference(name, before[name], after[name]) for name in before)
    wrong = next((row for row in rows if not row.ok), None)
    if wrong is not None and not optimized.approximate:
        raise InputError(f"--input: {wrong}{_where(optimized, inputs)}")
    return Comparison(rows)


def _where(optimized: Optimized, inputs: Mapping[str, np.ndarray]) -> str:
    """Which site is to blame, as the end of a message."""
    inside = at_sites(optimized.original, optimized.model, optimized.changes, [inputs])
    found = next((pair for pair in inside if not pair[1].ok), None)
    if found is None:
        return "; no single site differs: it is rounding that the layers behind amplify"
    change, row = found
    return (
        f"; it begins at {change.nodes[0]} ({change.pass_name}), by {row.relative:.1e}: leave it "
        f"alone with --exclude {change.nodes[0]}"
    )
