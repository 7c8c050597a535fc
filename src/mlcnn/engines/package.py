"""A network as engines read it: standard operators, in one message or in a file."""

import re
import tempfile
from pathlib import Path

import onnx_ir as ir

from mlcnn.graph import inline, to_proto

__all__ = ["Packaged", "shortened"]

# A protobuf message ends at 2 GiB, and weights are not all that it holds.
_MESSAGE_BYTES = 2**31 - 2**26
_LONGEST = 240


class Packaged:
    """A network as bytes, or as a file where one message cannot hold it.

    Attributes:
        source: the serialised message, or the path of a file.
    """

    def __init__(self, model: ir.Model, *, limit: int = _MESSAGE_BYTES) -> None:
        """Serialise a network.

        Args:
            model: the network; ``mlcnn`` functions are inlined in a copy.
            limit: bytes of weights from which on it goes to a file.
        """
        standard = inline(model)
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self.source: bytes | str
        if _weight_bytes(standard) < limit:
            self.source = to_proto(standard).SerializeToString()
        else:
            # Engines map the file: it lives as long as this object, which the session keeps.
            self._folder = tempfile.TemporaryDirectory(prefix="mlcnn-")
            path = Path(self._folder.name) / "network.onnx"
            ir.save(standard, path, external_data="network.weights")
            self.source = str(path)


def _weight_bytes(model: ir.Model) -> int:
    return sum(
        value.const_value.nbytes
        for graph in model.graphs()
        for value in graph.initializers.values()
        if value.const_value is not None
    )


def shortened(error: BaseException) -> str:
    """An engine's message in one line: its last one, without places in the engine's source.

    Args:
        error: what the engine raised.
    """
    lines = [line.strip() for line in str(error).splitlines()]
    lines = [line for line in lines if line and not line.startswith(("Exception from", "While "))]
    text = lines[-1] if lines else type(error).__name__
    text = re.sub(r"\S*/\S+\.(?:cc|cpp|h|hpp|py):\d+\s*", "", text)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
