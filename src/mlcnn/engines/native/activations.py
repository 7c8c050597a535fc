"""What a network does with a result and with nothing else of it: bounds, and functions.

``x * Sigmoid(x)`` and ``x * HardSigmoid(x)`` are functions of one number (SiLU and HardSwish),
though an ONNX file writes them as two nodes.
"""

from dataclasses import dataclass
from math import isclose

import onnx_ir as ir

from mlcnn.engines.native.library import Function
from mlcnn.engines.native.reading import bounds_of, refusal
from mlcnn.graph import is_standard
from mlcnn.nn.site import Site

__all__ = ["FUNCTIONS", "Activation", "function_of", "gate_of"]

FUNCTIONS = {
    "Abs": Function.ABS, "Elu": Function.ELU, "Erf": Function.ERF, "Exp": Function.EXP,
    "Gelu": Function.GELU, "HardSwish": Function.HARD_SWISH, "LeakyRelu": Function.LEAKY,
    "Sigmoid": Function.SIGMOID, "Sqrt": Function.SQRT, "Swish": Function.SILU,
    "Tanh": Function.TANH,
}  # fmt: skip
"""The kernels' functions of one number, by operator."""


@dataclass(frozen=True, slots=True)
class Activation:
    """What the kernel that makes a value can apply to it.

    Attributes:
        nodes: those that it stands for.
        result: what the last of them gives.
        fields: of the kernel's step.
    """

    nodes: tuple[ir.Node, ...]
    result: ir.Value
    fields: dict[str, int | float]


def function_of(site: Site) -> dict[str, int | float]:
    """The fields of a step that computes a node of ``FUNCTIONS``, or bounds its input.

    Raises:
        UnsupportedError: a variant that the kernels lack, or a bound that is not constant.
    """
    kind, spec = site.node.op_type, site.spec
    if kind in {"Relu", "Clip"}:
        bounds = bounds_of(site)
        if bounds is None:
            raise refusal(site, "a bound that is not constant")
        return {"low": bounds[0], "high": bounds[1]}
    alpha = spec.real("alpha", 0.01 if kind == "LeakyRelu" else 1)
    exact = kind != "Gelu" or spec.text("approximate", "none") == "none"
    if not exact or (kind == "Swish" and alpha != 1):
        raise refusal(site, "this variant")
    return {"function": FUNCTIONS[kind], "alpha": alpha}


def gate_of(site: Site, outputs: list[ir.Value]) -> Activation | None:
    """SiLU or HardSwish, if a node is the gate in it: ``Sigmoid(x)`` in ``x * Sigmoid(x)``.

    Args:
        site: the node.
        outputs: the network's, which are read outside.
    """
    source, gate = site.value(0), site.node.outputs[0]
    readers = gate.consumers()
    if len(readers) != 1 or gate in outputs or not is_standard(readers[0]):
        return None
    (reader,) = readers
    if reader.op_type != "Mul" or set(reader.inputs) != {source, gate}:
        return None
    if site.node.op_type == "Sigmoid":
        function = Function.SILU
    elif site.node.op_type == "HardSigmoid":
        alpha, beta = site.spec.real("alpha", 0.2), site.spec.real("beta", 0.5)
        if not (isclose(alpha, 1 / 6, rel_tol=1e-6) and beta == 0.5):
            return None
        function = Function.HARD_SWISH
    else:
        return None
    return Activation((site.node, reader), reader.outputs[0], {"function": function})
