"""Exits of quantised networks: branches read codes, and results are those of the definition."""

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.quantising import quantised
from mlcnn.engines import get
from mlcnn.graph import from_module, from_proto, to_proto
from mlcnn.passes.early_exit import EarlyExit
from mlcnn.passes.exit_heads import Head, exit_points, with_heads

CLASSES = 5


class Net(nn.Module):
    """A pool whose results a head and the rest of the network read, and a layer without one."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 8, 3)
        self.line = nn.Linear(8 * 16, CLASSES)

    def forward(self, x):
        x = torch.max_pool2d(torch.relu(self.first(x)), 2)
        x = torch.relu(self.second(x))
        return self.line(torch.flatten(x, 1))


def _headed(layer: str, *, batch: int):
    torch.manual_seed(3)
    model = quantised(from_module(Net().eval(), (torch.zeros(batch, 3, 12, 12),)))
    model = from_proto(to_proto(model))
    rng = np.random.default_rng(4)
    channels = {"first": 6, "second": 8}[layer]
    weight = rng.normal(size=(CLASSES, 4 * channels))
    at = dict(exit_points(model))[layer]
    return with_heads(model, [Head(at, weight, rng.normal(size=CLASSES))])


def _run(model, images, engine):
    (name,) = (value.name for value in model.graph.inputs)
    return [*get(engine).prepare(model).run({name: images}).values()]


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino", "native"])
@pytest.mark.parametrize(("layer", "batch"), [("first", 2), ("second", 2), ("first", 1)])
def test_results_are_those_of_the_head_or_of_the_whole_network(layer, batch, engine):
    headed = _headed(layer, batch=batch)
    count = 7 if batch > 1 else 1
    images = np.random.default_rng(6).normal(size=(count, 3, 12, 12)).astype(np.float32)
    whole, head = _run(headed, images, engine)
    shares = np.exp(head - head.max(1, keepdims=True))
    sure = (shares / shares.sum(1, keepdims=True)).max(1)
    # Between two images where there are several, and above the only one.
    limit = float(np.median(sure) + 1e-3) if count > 1 else float(min(sure[0] * 1.01, 1.0))
    assert np.abs(sure - limit).min() > 1e-4
    dynamic = EarlyExit(f"exit1={limit!r}").apply(headed).model
    (found,) = _run(dynamic, images, engine)
    expected = np.where((sure >= limit)[:, None], head, whole)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_a_branch_reads_no_numbers_that_codes_stand_for():
    dynamic = EarlyExit("exit1=0.5").apply(_headed("first", batch=2)).model
    (split,) = (node for node in dynamic.graph if node.op_type == "If")
    made = {value for node in dynamic.graph for value in node.outputs}
    branch = split.attributes["then_branch"].as_graph()
    read = {value for node in branch.all_nodes() for value in node.inputs} & made
    images = [value for value in read if value.shape is not None and value.shape.rank() == 4]
    assert [value.dtype.name for value in images] == ["UINT8"]
