"""A network as engines read it: standard operators, in one message or in a file."""

import re
import shutil
import tempfile
import weakref
from pathlib import Path

import onnx_ir as ir

from mlcnn.graph import inline, tensor_bytes, to_proto

__all__ = ["Packaged", "shortened", "weight_bytes"]

# A protobuf message ends at 2 GiB, and weights are not all that it holds.
_MESSAGE_BYTES = 2**31 - 2**26
_LONGEST = 240
# Lines that OpenVINO puts around what went wrong.
_FRAME = (
    "Exception from",
    "Check '",
    "While ",
    "FrontEnd API failed",
    "Model wasn't fully converted",
    "Summary:",
)


class Packaged:
    """A network as bytes, or as a file where one message cannot hold it.

    Attributes:
        source: the serialised message, or the path of a file.
    """

    def __init__(
        self, model: ir.Model, *, foreign: bool = False, limit: int = _MESSAGE_BYTES
    ) -> None:
        """Serialise a network.

        Args:
            model: the network; the functions that passes added are inlined in a copy.
            foreign: inline the functions that came with the network too.
            limit: bytes of weights from which on it goes to a file.
        """
        standard = inline(model, foreign=foreign)
        self.source: bytes | str
        if weight_bytes(standard) < limit:
            self.source = to_proto(standard).SerializeToString()
        else:
            # Engines map the file: it lives as long as this object, which the session keeps.
            folder = tempfile.mkdtemp(prefix="mlcnn-")
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            path = Path(folder) / "network.onnx"
            ir.save(standard, path, external_data="network.weights")
            self.source = str(path)


def weight_bytes(model: ir.Model) -> int:
    """Size of a network's initializers, subgraphs included."""
    return sum(
        tensor_bytes(value.const_value)
        for graph in model.graphs()
        for value in graph.initializers.values()
        if value.const_value is not None
    )


def shortened(error: BaseException) -> str:
    """What an engine's message says, in one line, without places in the engine's source.

    Args:
        error: what the engine raised.
    """
    lines = [line.strip() for line in str(error).splitlines()]
    telling = [line for line in lines if line and not line.startswith(_FRAME)]
    text = telling[0].removeprefix("-- ") if telling else type(error).__name__
    text = re.sub(r"\S*/\S+\.(?:cc|cpp|h|hpp|py):\d+\s*", "", text)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
