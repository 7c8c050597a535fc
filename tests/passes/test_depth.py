"""Networks that are deeper than Python's stack."""

import numpy as np
import onnx_ir as ir
import pytest
from passes.builder import Net
from passes.story import story

DEPTH = 1500


def _chain(op_type: str) -> ir.Model:
    """input -> conv -> 1,500 pointwise operators -> average pool."""
    net = Net()
    constants = [net.initializer("one", np.ones((), np.float32))] if op_type == "Mul" else []
    value = net.conv(net.x)
    for index in range(DEPTH):
        value = net.op(op_type, value, *constants, name=f"act{index}")
    return net.model(net.pool(value))


@pytest.mark.parametrize(("op_type", "name"), [("Relu", "reorder"), ("Mul", "distribute-pool")])
def test_pool_passes_any_number_of_operators(op_type: str, name: str) -> None:
    first, second = story(_chain(op_type))
    assert first.startswith(f"{name} rewrites conv, ")
    assert len(first.split(", ")) == DEPTH + 2
    assert second == "fuse rewrites conv, conv/AveragePool as box"
