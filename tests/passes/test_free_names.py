"""New values never take a name that the network uses already."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from passes.builder import Net

from mlcnn.graph import free_name, inline, to_proto
from mlcnn.ops import forms
from mlcnn.passes import Fuse, pipeline

_ROLES = ("weight", "weight_1", "box", "bias", "means", "scale", "starts")
_OPERATORS = ("ConvPoolBox", "ConvPoolExpanded", "ConvPoolMatVec", "ConvPoolMatMul", "Conv")
WANTED = [*(f"conv.{role}" for role in _ROLES), *(f"pool:0/{op}_0.0" for op in _OPERATORS)]


def _crowded(name: str) -> ir.Model:
    """A site in whose network a value and an input have the name that a new one would have."""
    net = Net(2, 2, 6, 6)
    weight = net.initializer("w", net.weight("drawn", 2, 2, 3, 3).const_value.numpy())
    del net.initializers["drawn"]
    other = net.input(name, 2, 2, 6, 6)
    value = net.conv(
        net.op("Add", net.x, other, name="add"), name="conv", weight=weight, bias=False
    )
    return net.model(net.pool(value))


@pytest.mark.parametrize("form", forms())
@pytest.mark.parametrize("name", WANTED)
def test_every_form_makes_names_of_its_own(form: str, name: str) -> None:
    model = _crowded(name)
    result = pipeline.run(model, [Fuse(form=form)])
    proto = to_proto(inline(result.model))
    onnx.checker.check_model(proto, full_check=True)
    generator = np.random.default_rng(0)
    feed = {
        item: generator.standard_normal((2, 2, 6, 6)).astype(np.float32) for item in ("x", name)
    }
    before, after = (
        ort.InferenceSession(item.SerializeToString()).run(None, feed)[0]
        for item in (to_proto(model), proto)
    )
    np.testing.assert_allclose(after, before, atol=1e-5)


def test_a_free_name_is_taken_afterwards() -> None:
    taken = {"a", "a_1"}
    assert [free_name("a", taken), free_name("a", taken), free_name("b", taken)] == [
        "a_2", "a_3", "b",
    ]  # fmt: skip
    assert taken == {"a", "a_1", "a_2", "a_3", "b"}
