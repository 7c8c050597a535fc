"""ONNX Runtime as the yardstick of what a network computes, and how far two results are apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
from numpy.typing import NDArray

from mlcnn.errors import UnsupportedError
from mlcnn.graph.structure import clone, inline, light_proto
from mlcnn.graph.wording import quote

__all__ = ["Difference", "Reference", "difference"]

Array = NDArray[np.generic]

_FATAL = 4
# Rounding errors of one layer are amplified by those behind it; a wrong network is far off.
_TOLERANCE = {2: 5e-2, 4: 1e-3, 8: 1e-9}


@dataclass(frozen=True, slots=True)
class Difference:
    """How far one value is from another.

    Attributes:
        name: the value's name.
        max_difference: largest difference.
        relative: the same, divided by the first one's largest value.
        allowed: the largest relative difference that rounding explains.
    """

    name: str
    max_difference: float
    relative: float
    allowed: float

    @property
    def ok(self) -> bool:
        """Whether rounding explains the difference."""
        return self.relative <= self.allowed

    def __str__(self) -> str:
        if self.relative == np.inf:
            return f"{self.name} has another shape, or is not finite in other places"
        return (
            f"{self.name} differs by {self.relative:.1e} of its largest value; at most "
            f"{self.allowed:.0e} is rounding"
        )


def difference(name: str, before: Array, after: Array) -> Difference:
    """How far ``after`` is from ``before``; infinitely where shapes or NaNs differ.

    Args:
        name: of the value, for messages.
        before: what is right.
        after: what is compared with it, of the same type.
    """
    is_float = before.dtype.kind == "f" or "float" in before.dtype.name
    allowed = _TOLERANCE.get(before.dtype.itemsize, 0.0) if is_float else 0.0
    if before.shape != after.shape:
        return Difference(name, np.inf, np.inf, allowed)
    if not before.size or before.dtype.kind in "OUS":
        return Difference(name, 0.0, 0.0, allowed)
    one, other = before.astype(np.float64), after.astype(np.float64)
    finite = np.isfinite(one) & np.isfinite(other)
    if not np.array_equal(one[~finite], other[~finite], equal_nan=True):
        return Difference(name, np.inf, np.inf, allowed)
    largest = float(np.abs(one[finite]).max(initial=0.0))
    worst = float(np.abs(one[finite] - other[finite]).max(initial=0.0))
    return Difference(name, worst, worst / largest if largest else worst, allowed)


class Reference:
    """A network in ONNX Runtime, which takes the weights as inputs and reads them where they lie.

    Nothing is copied or rearranged: it is slower than engine ``onnxruntime``, and needs no memory
    but for the values in between.
    """

    def __init__(self, model: ir.Model, *, threads: int = 1, inner: Sequence[str] = ()) -> None:
        """Make a network ready to run.

        Args:
            model: the network; ``mlcnn`` functions are inlined in a copy.
            threads: that ONNX Runtime may use.
            inner: names of values inside the network that are outputs too.

        Raises:
            UnsupportedError: ONNX Runtime cannot run it.
        """
        standard = inline(_exposing(model, inner))
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = _FATAL
        try:
            self._session = ort.InferenceSession(
                light_proto(standard).SerializeToString(),
                options,
                providers=["CPUExecutionProvider"],
            )
        except Exception as error:
            raise UnsupportedError(f"onnxruntime cannot run it: {quote(error)}") from error
        self._outputs = [value.name or "" for value in standard.graph.outputs]
        wanted = {item.name for item in self._session.get_inputs()}
        self._weights = {
            name: np.ascontiguousarray(value.const_value.numpy())
            for name, value in standard.graph.initializers.items()
            if name in wanted and value.const_value is not None
        }

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run the network once.

        Args:
            inputs: an array for each input, by name.

        Returns:
            The outputs by name, those of ``inner`` too.

        Raises:
            UnsupportedError: it does not run on these inputs.
        """
        try:
            results = self._session.run(self._outputs, {**self._weights, **inputs})
        except Exception as error:
            raise UnsupportedError(f"onnxruntime cannot run it: {quote(error)}") from error
        return dict(zip(self._outputs, map(np.asarray, results), strict=True))


def _exposing(model: ir.Model, names: Sequence[str]) -> ir.Model:
    """The network, or a copy in which the values of these names are outputs too."""
    if not names:
        return model
    copied = clone(model)
    values = {value.name: value for node in copied.graph for value in node.outputs}
    copied.graph.outputs.extend(
        values[name] for name in names if not values[name].is_graph_output()
    )
    return copied
