"""Layers carry the names of their modules or weights, whoever exported the network."""

import onnx_ir as ir
import pytest

from mlcnn.graph import layer_name


def node(op_type="Conv", *, weight=None, name="node_7", scopes=None, classes=None):
    inputs = [ir.Value(name="x")]
    if weight:
        value = ir.Value(name=weight, const_value=ir.tensor([1.0]))
        ir.Graph([], [], nodes=[], initializers=[value])
        inputs.append(value)
    metadata = {}
    if scopes is not None:
        metadata["pkg.torch.onnx.name_scopes"] = str(scopes)
        metadata["pkg.torch.onnx.class_hierarchy"] = str(classes)
    made = ir.Node("", op_type, inputs, name=name, metadata_props=metadata)
    made.outputs[0].name = "out"
    return made


CONV = "torch.nn.modules.conv.Conv2d"
NORM = "torch.nn.modules.batchnorm.BatchNorm2d"
NORM_FUNCTION = "_native_batch_norm_legit_no_training"


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (
            node(
                weight="features.3.weight",
                scopes=["", "features", "features.3", "conv2d_1"],
                classes=["Net", "torch.nn.modules.container.Sequential", CONV, "aten.conv2d"],
            ),
            "features.3",
        ),
        # A pass may give the weight another name: the module stays.
        (
            node(
                weight="folded_1",
                scopes=["", "features.3", "conv2d_1"],
                classes=["Net", CONV, "aten.conv2d"],
            ),
            "features.3",
        ),
        # The exporter folded a batch norm into a convolution, whose note was lost.
        (
            node(
                weight="layer3.2.conv2.weight",
                scopes=["", "layer3.2", "layer3.2.bn2", NORM_FUNCTION],
                classes=["Net", "mine.Block", NORM, f"aten.{NORM_FUNCTION}.default"],
            ),
            "layer3.2.conv2",
        ),
        (
            node(
                "BatchNormalization",
                weight="layer3.2.bn2.weight",
                scopes=["", "layer3.2", "layer3.2.bn2", NORM_FUNCTION],
                classes=["Net", "mine.Block", NORM, f"aten.{NORM_FUNCTION}.default"],
            ),
            "layer3.2.bn2",
        ),
        # A class of the user's own: the weight says that it is the layer.
        (
            node(
                weight="stem.weight",
                scopes=["", "stem", "conv2d"],
                classes=["Net", "mine.MyConv", "aten.conv2d"],
            ),
            "stem",
        ),
        # A function that a block calls.
        (
            node(
                "Relu",
                scopes=["", "layer1.0", "relu_2"],
                classes=["Net", "mine.Block", "aten.relu"],
            ),
            "layer1.0.relu_2",
        ),
        (node("Add", scopes=["", "add_5"], classes=["Net", "aten.add"]), "add_5"),
        # A module that is called twice.
        (
            node("Relu", scopes=["", "act@1", "relu"], classes=["Net", "torch.nn.modules.R", "a"]),
            "act",
        ),
        (
            node(
                "Shape",
                scopes=["_empty_nn_module_stack_from_metadata_hook", "sym_size"],
                classes=["_empty_nn_module_stack_from_metadata_hook", "aten.sym_size"],
            ),
            "sym_size",
        ),
        # Without metadata: the weight, then torch's older names of nodes, then the node.
        (node(weight="layer1.0.conv1.weight", name="Conv_12"), "layer1.0.conv1"),
        (node(weight="onnx::Conv_193", name="/layer1/layer1.0/conv1/Conv"), "layer1.0.conv1"),
        (node("Relu", name="/features/features.1/Relu"), "features.1"),
        (node(weight="w", name="conv_a"), "conv_a"),
        (node("Relu", name=""), "out"),
        (node("Relu", name="/Relu"), "/Relu"),
        # Metadata that is not what the exporter writes.
        (node(name="plain", scopes="nonsense", classes="[["), "plain"),
    ],
)
def test_a_layer_is_called_what_its_author_called_it(made, expected):
    assert layer_name(made) == expected
