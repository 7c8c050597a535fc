"""``--algorithm``: what does not suit the network is refused, with what differs and the remedy."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import helper

from mlcnn.engines.processor import named

Call = Callable[..., Any]
NATIVE = ("--engine", "native", "--seconds", "0.05")


@pytest.fixture
def chosen(mlcnn: Call, hopeless: Path, tmp_path: Path) -> tuple[Path, Any]:
    """What ``bench --json`` said of a network with one 3x3 convolution, as a file and read."""
    result = mlcnn("bench", hopeless, *NATIVE, "--algorithm", "auto", "--json")
    assert result.code == 0, result.err
    path = tmp_path / "chosen.json"
    path.write_text(result.out, encoding="utf-8")
    return path, result.json


def test_winograd_where_no_layer_fits(
    mlcnn: Call, network: Callable[..., onnx.ModelProto], tmp_path: Path
) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "conv.weight"], ["a"], strides=[3, 3], name="far"),
        helper.make_node("MaxPool", ["a"], ["y"], kernel_shape=[2, 2], name="pool"),
    ]
    path = tmp_path / "unfit.onnx"
    onnx.save(network(*nodes), path)
    result = mlcnn("bench", path, *NATIVE, "--algorithm", "winograd")
    assert result.code == 2
    assert "(conv has stride 3x3); use --algorithm measured" in result.error
    result = mlcnn("bench", "lenet5", *NATIVE, "--algorithm", "winograd")
    assert result.code == 2
    assert "conv1 has a kernel 5x5, conv2" in result.err
    # Beside another engine it is an error, too: it was asked for.
    beside = ("--engine", "onnxruntime", "--engine", "native", "--seconds", "0.05")
    assert mlcnn("bench", path, *beside, "--algorithm", "winograd").code == 2
    assert mlcnn("run", path, *NATIVE, "--algorithm", "winograd").code == 2
    assert mlcnn("bench", "vgg16", *NATIVE, "--algorithm", "winograd").code == 0


def test_a_saved_choice_is_repeated(mlcnn: Call, hopeless: Path, chosen: tuple[Path, Any]) -> None:
    path, document = chosen
    assert document["processor"] == named()
    for algorithm in (path, f"auto:{path}"):
        result = mlcnn("bench", hopeless, *NATIVE, "--algorithm", algorithm, "--json")
        assert result.code == 0, result.err
        (row,) = result.json["results"]
        (layer,) = row["algorithms"]
        assert layer["reason"] == "as in chosen.json"
        assert layer["algorithm"] == document["results"][0]["algorithms"][0]["algorithm"]
        assert "ignored" not in result.err


def refused(mlcnn: Call, path: Path, arguments: tuple[object, ...], told: tuple[str, ...]) -> None:
    """It is an error, and in ``auto`` a warning."""
    result = mlcnn("bench", *arguments, *NATIVE, "--algorithm", path)
    assert result.code == 2
    result_of_hint = mlcnn("bench", *arguments, *NATIVE, "--algorithm", f"auto:{path}", "--json")
    assert result_of_hint.code == 0, result_of_hint.err
    (warning,) = [
        line for line in result_of_hint.json["warnings"] if line.endswith("; it is ignored")
    ]
    assert warning in result_of_hint.err
    for words in told:
        assert words in result.error
        assert words in warning
    assert "choose anew with --algorithm measured" in result.error


def test_of_another_batch(mlcnn: Call, hopeless: Path, chosen: tuple[Path, Any]) -> None:
    told = ("it is another batch's: layer 'conv' has 1 images there, 5 here",)
    refused(mlcnn, chosen[0], (hopeless, "--batch", 5), told)


def test_of_another_network(mlcnn: Call, chosen: tuple[Path, Any]) -> None:
    told = "it is another network's: layers conv there, and no 'conv1' (1x3 -> 16x32x32, 3x3"
    refused(mlcnn, chosen[0], ("resnet20", "--no-measure"), (told,))


def test_of_the_same_network_with_other_sizes(
    mlcnn: Call, network: Callable[..., onnx.ModelProto], chosen: tuple[Path, Any], tmp_path: Path
) -> None:
    other = tmp_path / "other.onnx"
    node = helper.make_node("Conv", ["x", "conv.weight"], ["y"], name="conv")
    onnx.save(network(node, size=12), other)
    told = "layer 'conv' is 1x3 -> 4x6x6, 3x3 there, 1x3 -> 4x10x10, 3x3 here"
    refused(mlcnn, chosen[0], (other,), (f"it is another network's: {told}",))


def test_of_another_processor(mlcnn: Call, hopeless: Path, chosen: tuple[Path, Any]) -> None:
    path, document = chosen
    path.write_text(json.dumps(document | {"processor": "Z80"}), encoding="utf-8")
    told = f"it is another processor's: Z80 there, {named()} here"
    refused(mlcnn, path, (hopeless,), (told,))


def test_of_an_algorithm_that_does_not_fit(
    mlcnn: Call, hopeless: Path, chosen: tuple[Path, Any]
) -> None:
    path, document = chosen
    document["results"][0]["algorithms"][0]["algorithm"] = "Winograd F(4x4, 3x3), stride 2"
    path.write_text(json.dumps(document), encoding="utf-8")
    told = "for layer 'conv', which does not compute 1x3 -> 4x6x6, 3x3"
    refused(mlcnn, path, (hopeless,), (told,))


def test_a_hint_has_to_be_there(mlcnn: Call, hopeless: Path) -> None:
    result = mlcnn("bench", hopeless, *NATIVE, "--algorithm", "auto:nowhere.json")
    assert result.code == 2
    assert "nowhere.json" in result.error
