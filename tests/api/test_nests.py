"""A layer behind a network's name, and layers as nests."""

import pytest

import mlcnn
from mlcnn.api import NetworkOptions, nest_of, split_layer
from mlcnn.errors import InputError
from mlcnn.workload import ConvLayer, loop_nest


@pytest.mark.parametrize(
    ("target", "network", "layer"),
    [
        ("lenet5", "lenet5", None),
        ("resnet18-224:layer1.0.conv1", "resnet18-224", "layer1.0.conv1"),
        ("vgg16-avg-100:conv1", "vgg16-avg-100", "conv1"),
        ("nets/a.onnx", "nets/a.onnx", None),
        ("nets/a.onnx:conv:0", "nets/a.onnx", "conv:0"),
        ("C:\\nets\\a.pt2:conv", "C:\\nets\\a.pt2", "conv"),
        ("C:\\nets\\a.onnx", "C:\\nets\\a.onnx", None),
        ("json.decoder:build", "json.decoder:build", None),
        ("json.decoder:build:conv1", "json.decoder:build", "conv1"),
    ],
)
def test_a_layer_stands_behind_the_last_colon_that_is_not_the_networks(target, network, layer):
    assert split_layer(target) == (network, layer)


@pytest.mark.parametrize("target", ["lenet6:conv1", "no-module:build"])
def test_what_is_neither_network_nor_module_is_told(target):
    with pytest.raises(InputError, match=r"There is no module '.*' either; a layer stands behind"):
        split_layer(target)


def test_whatever_gives_a_nest_stands_for_a_layer():
    layer = ConvLayer("layer", 1, 4, 2, 5, 5, 3, 3)
    nest = loop_nest(layer)
    assert nest_of(nest) is nest
    assert nest_of(layer) == nest
    assert nest_of("K=4,C=2,H=5,W=5,R=3,S=3") == nest
    assert nest_of(layer, NetworkOptions(batch=3)).size("N") == 3


def test_a_network_is_no_layer():
    with pytest.raises(InputError) as told:
        nest_of("lenet5")
    assert str(told.value) == (
        "lenet5: a layer is required behind a colon, as resnet18-224:layer1.0.conv1"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"objective": "edb"},
            "unknown objective 'edb'; did you mean 'edp'?; known: edp, energy, latency",
        ),
        (
            {"factors": "perfekt"},
            "unknown factors 'perfekt'; did you mean 'perfect'?; known: perfect, padded",
        ),
        ({"budget_s": 0.0}, "a budget of 0 s: it must be positive"),
        ({"budget_s": float("nan")}, "a budget of nan s: it must be positive"),
    ],
)
def test_wrong_options_are_told_before_the_work(options, message):
    with pytest.raises(InputError) as told:
        mlcnn.map_layer("missing.onnx:conv", mlcnn.MapOptions(**options))
    assert str(told.value) == message
