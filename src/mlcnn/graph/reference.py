"""ONNX Runtime as the yardstick of what a network computes, and how far two results are apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
from numpy.typing import NDArray

from mlcnn.errors import UnsupportedError
from mlcnn.graph.structure import clone, inline, is_operator, light_proto
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
    """A network in ONNX Runtime, which reads the weights where they lie.

    As inputs nothing of them is copied or rearranged: it is slower than engine ``onnxruntime``, and
    needs no memory but for the values in between. As constants it runs as that engine runs it.
    """

    def __init__(
        self,
        model: ir.Model,
        *,
        threads: int = 1,
        inner: Sequence[str] = (),
        constant: bool = False,
    ) -> None:
        """Make a network ready to run.

        Args:
            model: the network; ``mlcnn`` functions are inlined in a copy.
            threads: that ONNX Runtime may use.
            inner: names of values inside the network that are outputs too.
            constant: the weights are constants, so that ONNX Runtime rewrites the network and lays
                them out as it does for users; else inputs.

        Raises:
            UnsupportedError: ONNX Runtime cannot run it.
        """
        exposed = _exposing(model, inner)
        added = any(map(is_operator, model.functions.values()))
        standard = inline(exposed) if added else exposed
        proto = light_proto(standard, fed=not constant)
        weights = _left_out(proto, standard.graph)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = _FATAL
        # Idle threads that spin take time for nothing.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if constant:
            values = map(ort.OrtValue.ortvalue_from_numpy, weights.values())
            options.add_external_initializers(list(weights), list(values))
        try:
            self._session = ort.InferenceSession(
                proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise UnsupportedError(f"onnxruntime cannot run it: {quote(error)}") from error
        self._outputs = [value.name or "" for value in standard.graph.outputs]
        self._weights, self._fed = weights, {} if constant else weights

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
            results = self._session.run(self._outputs, {**self._fed, **inputs})
        except Exception as error:
            raise UnsupportedError(f"onnxruntime cannot run it: {quote(error)}") from error
        return dict(zip(self._outputs, map(np.asarray, results), strict=True))


def _left_out(proto: onnx.ModelProto, graph: ir.Graph) -> dict[str, Array]:
    """The weights that a message lacks, by name."""
    stored = {
        item.name
        for item in proto.graph.initializer
        if item.data_location != onnx.TensorProto.EXTERNAL
    }
    return {
        name: np.asarray(value.const_value.numpy(), order="C")
        for name, value in graph.initializers.items()
        if name not in stored and value.const_value is not None
    }


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
