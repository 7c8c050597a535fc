"""Networks as ONNX graphs: loading, saving, shapes, checks."""

from mlcnn.graph.callables import from_callable
from mlcnn.graph.evaluate import evaluate
from mlcnn.graph.example import ExampleInput
from mlcnn.graph.folding import fold_constants
from mlcnn.graph.load import from_proto, load_file
from mlcnn.graph.names import constant, layer_name
from mlcnn.graph.programs import load_program
from mlcnn.graph.saving import check_output, save
from mlcnn.graph.shapes import infer_shapes
from mlcnn.graph.structure import check, clone, extract, inline, to_proto
from mlcnn.graph.torch_export import from_module

__all__ = [
    "ExampleInput",
    "check",
    "check_output",
    "clone",
    "constant",
    "evaluate",
    "extract",
    "fold_constants",
    "from_callable",
    "from_module",
    "from_proto",
    "infer_shapes",
    "inline",
    "layer_name",
    "load_file",
    "load_program",
    "save",
    "to_proto",
]
