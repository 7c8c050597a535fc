"""Each layer by itself, before and after; how long it takes is not tested."""

import pytest
from passes.builder import Net

from mlcnn.frontier import layer_times
from mlcnn.passes import pipeline


@pytest.mark.parametrize("form", ["two-stage", "split", "rebuilt"])
def test_a_layer_of_several_nodes_is_cut_out_of_its_network(form):
    net = Net("n", 4, 8, 8)
    inner = net.op("Relu", net.conv(net.x, 6, channels=4, name="a"))
    model = net.model(net.conv(inner, 6, channels=6, name="b"))
    text = f"share-kernels{{basis=4,layers=all}},choose{{form={form}}}"
    after = pipeline.run(model, pipeline.parse(text)).model
    times = layer_times(model, after, ("onnxruntime",), budget_s=0.01)
    assert [(time.layer, time.engine) for time in times] == [
        ("a", "onnxruntime"), ("b", "onnxruntime"),
    ]  # fmt: skip
    assert all(time.after_ms > 0 for time in times)
