"""Compare a network before and after on inputs that a user brings."""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from mlcnn import engines
from mlcnn.api.optimizing import Optimized
from mlcnn.errors import InputError, PassError

__all__ = ["Comparison", "OutputDifference", "compare", "read_inputs"]

# Rounding errors of one layer are amplified by those behind it; a wrong rewrite is far off.
_TOLERANCE = {2: 5e-2, 4: 1e-3, 8: 1e-9}


@dataclass(frozen=True, slots=True)
class OutputDifference:
    """How far one output is from the original's.

    Attributes:
        name: the output's name.
        max_difference: largest difference.
        relative: the same, divided by the original's largest value.
    """

    name: str
    max_difference: float
    relative: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """The outputs before and after, on the user's own input."""

    outputs: tuple[OutputDifference, ...]

    def to_json(self) -> list[dict[str, object]]:
        """A row for each output."""
        return [
            {"output": row.name, "max_difference": row.max_difference, "relative": row.relative}
            for row in self.outputs
        ]


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
    dims = None if value.shape is None else value.shape.dims
    fits = dims is None or (
        len(dims) == array.ndim
        and all(
            not isinstance(dim, int) or dim == size
            for dim, size in zip(dims, array.shape, strict=True)
        )
    )
    if not fits:
        required = "x".join(str(d if isinstance(d, int) else d.value or "?") for d in dims or ())
        raise InputError(
            f"{path}: {value.name} has shape {'x'.join(map(str, array.shape))}, "
            f"the network takes {required}"
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
        PassError: only exact passes ran, and an output differs by more than rounding explains.
    """
    engine = engines.get("onnxruntime")
    before = engine.prepare(optimized.original).run(dict(inputs))
    after = engine.prepare(optimized.model).run(dict(inputs))
    rows = tuple(_difference(name, before[name], after[name]) for name in before)
    for row in rows:
        tolerance = _TOLERANCE.get(before[row.name].dtype.itemsize, 0.0)
        if not optimized.approximate and not row.relative <= tolerance:
            raise PassError(
                f"output {row.name} differs by {row.relative:.1e} of its largest value on the "
                f"given input; after exact passes at most {tolerance:.0e} is rounding"
            )
    return Comparison(rows)


def _difference(name: str, before: np.ndarray, after: np.ndarray) -> OutputDifference:
    if before.shape != after.shape:
        return OutputDifference(name, np.inf, np.inf)
    if not before.size:
        return OutputDifference(name, 0.0, 0.0)
    both_finite = np.isfinite(before) & np.isfinite(after)
    if not np.array_equal(before[~both_finite], after[~both_finite], equal_nan=True):
        return OutputDifference(name, np.inf, np.inf)
    wide = before.astype(np.float64)[both_finite], after.astype(np.float64)[both_finite]
    largest = float(np.abs(wide[0]).max(initial=0.0))
    difference = float(np.abs(wide[0] - wide[1]).max(initial=0.0))
    return OutputDifference(name, difference, difference / largest if largest else difference)
