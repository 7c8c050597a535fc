"""ONNX operators as torch functions: the one definition that evaluation and training share."""

from mlcnn.errors import UnsupportedError
from mlcnn.graph.operators import (
    elementwise,
    normalisation,
    quantisation,
    reductions,
    resize,
    shapes,
    windows,
)
from mlcnn.graph.operators.spec import (
    Kernel,
    NodeSpec,
    Operator,
    python_value,
    tensor_from,
    torch_dtype,
)
from mlcnn.graph.operators.windows import (
    Windows,
    conv_windows,
    flat_pads,
    pool_windows,
    torch_takes,
    windows_of,
)

__all__ = [
    "OPERATORS",
    "Kernel",
    "NodeSpec",
    "Operator",
    "Windows",
    "conv_windows",
    "find",
    "flat_pads",
    "pool_windows",
    "python_value",
    "tensor_from",
    "torch_dtype",
    "torch_takes",
    "windows_of",
]

OPERATORS: dict[str, Operator] = {
    **elementwise.OPERATORS,
    **reductions.OPERATORS,
    **normalisation.OPERATORS,
    **quantisation.OPERATORS,
    **windows.OPERATORS,
    **shapes.OPERATORS,
    **resize.OPERATORS,
}
"""Every standard operator that has a torch kernel, by name."""


def find(spec: NodeSpec) -> Operator:
    """The operator of a node.

    Raises:
        UnsupportedError: naming the node, where there is none.
    """
    operator = OPERATORS.get(spec.op_type) if spec.is_standard else None
    if operator is None:
        domain = spec.domain or "ai.onnx"
        msg = (
            f"{spec.where}: operator {spec.op_type!r} of domain {domain!r} has no torch kernel; "
            "run this network with ONNX Runtime instead"
        )
        raise UnsupportedError(msg)
    return operator
