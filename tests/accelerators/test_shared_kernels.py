"""Layers of shared kernels on an array that knows none."""

from dataclasses import replace

import numpy as np
import onnx_ir as ir
from passes.builder import Net

from mlcnn import graph, workload
from mlcnn.accelerators import LayerTask, evaluate_layer, load_accelerator, load_technology
from mlcnn.passes import pipeline
from mlcnn.workload import Layer


def test_an_array_is_charged_for_zeros_and_for_the_basis():
    """It knows no such weights: it runs the convolutions that stand there, all of their weights."""
    machine, table = load_accelerator("dcnn-fp32"), load_technology()
    net = Net(2, 4, 12, 11)
    model = net.model(net.conv(net.x, 6, channels=4, name="a"))
    model = pipeline.run(model, pipeline.parse("share-kernels{basis=5}")).model
    empty = graph.clone(model)
    value = empty.graph.initializers["a.weight"]
    value.const_value = ir.Tensor(np.zeros((6, 4, 5), np.float32), name=value.name)
    costs = [
        evaluate_layer(LayerTask(workload.read(m).layers[0]), machine, table)
        for m in (model, empty)
    ]
    assert costs[0] == costs[1]
    stages = [replace(nest, name="a") for nest in workload.read(model).layers[0].parts]
    assert [(n.K, n.C, n.G, n.R) for n in stages] == [(20, 4, 4, 3), (6, 20, 1, 1)]
    alone = [evaluate_layer(LayerTask(Layer(n, parts=(n,))), machine, table) for n in stages]
    assert costs[0].cycles == sum(cost.cycles for cost in alone)
