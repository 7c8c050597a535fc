"""Every kind of network comes in through ``mlcnn.load``."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from torch import nn

import mlcnn
from mlcnn.api import is_zoo_name, model_name
from mlcnn.errors import InputError
from mlcnn.graph import evaluate, save


def small() -> nn.Module:
    """A convolution and a pool, with weights that are always the same."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AvgPool2d(2), nn.Dropout(0.5)).eval()


EXAMPLE = torch.zeros(2, 3, 8, 8)


def outputs(model: ir.Model, images: torch.Tensor) -> torch.Tensor:
    name = model.graph.inputs[0].name or ""
    (result,) = evaluate(model, {name: images.double()}).values()
    return result


def test_all_kinds_of_the_same_network_agree(tmp_path: Path) -> None:
    module = small()
    images = torch.randn(3, 3, 8, 8)
    expected = module.double()(images.double())
    module.float()
    from_module = mlcnn.load(module, EXAMPLE)
    save(from_module, tmp_path / "net.onnx")
    program = torch.export.export(
        module, (EXAMPLE,), dynamic_shapes=({0: torch.export.Dim("batch")},)
    )
    torch.export.save(program, tmp_path / "net.pt2")
    sources = (
        from_module,
        onnx.load(tmp_path / "net.onnx"),
        tmp_path / "net.onnx",
        str(tmp_path / "net.onnx"),
        tmp_path / "net.pt2",
    )
    for source in sources:
        torch.testing.assert_close(outputs(mlcnn.load(source), images), expected)


def test_a_model_is_not_changed(linear: ir.Model) -> None:
    before = ir.to_proto(linear).SerializeToString(deterministic=True)
    mlcnn.optimize(linear, form="box")
    assert ir.to_proto(linear).SerializeToString(deterministic=True) == before


def test_a_callable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop_of_nets.py").write_text(
        "import torch\n"
        "def build():\n"
        "    return torch.nn.Conv2d(3, 4, 3), torch.zeros(2, 3, 8, 8)\n"
        "def bare():\n"
        "    return torch.nn.Conv2d(3, 4, 3)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert mlcnn.load("shop_of_nets:build").graph.inputs[0].shape is not None
    with pytest.raises(InputError, match="--input-shape"):
        mlcnn.load("shop_of_nets:bare")
    shape = mlcnn.load("shop_of_nets:bare", input_shape=(2, 3, 10, 12)).graph.inputs[0].shape
    assert shape is not None
    assert list(shape)[1:] == [3, 10, 12]


def test_a_callable_with_arguments_and_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shop_of_sizes.py").write_text(
        "import torch\n"
        "def build(path, *, filters=4):\n"
        "    assert path == 'a/b.onnx'\n"
        "    return torch.nn.Conv2d(3, filters, 3), torch.zeros(2, 3, 8, 8)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    weight = np.arange(54, dtype=np.float32).reshape(2, 3, 3, 3)
    np.savez("w.npz", weight=weight, bias=np.ones(2, np.float32))
    text = "shop_of_sizes:build('a/b.onnx', filters=2)"
    model = mlcnn.load(text, weights="w.npz")
    assert np.array_equal(model.graph.initializers["weight"].const_value.numpy(), weight)
    with pytest.raises(InputError, match=r"w.npz: weight has shape \(2, 3, 3, 3\), required is"):
        mlcnn.load("shop_of_sizes:build('a/b.onnx')", weights="w.npz")


def test_input_shape_fixes_dynamic_sizes_and_leaves_the_batch(tmp_path: Path) -> None:
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 3, "h", "w"])
    result = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "g", [value], [result])
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)])
    model = mlcnn.load(proto, input_shape=(1, 3, 5, 7))
    shape = model.graph.outputs[0].shape
    assert shape is not None
    assert isinstance(shape[0], ir.SymbolicDim)
    assert list(shape)[1:] == [3, 5, 7]
    with pytest.raises(InputError, match=r"1x4x5x7: input 'x' of the network is nx3xhxw"):
        mlcnn.load(proto, input_shape=(1, 4, 5, 7))


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("lenet5", {"input_shape": (1, 3, 28, 28)}, "lenet5 takes Nx3x32x32"),
        ("lenet5", {"example_input": EXAMPLE}, "goes with a torch module, not with str"),
        ("lenet6", {}, "did you mean 'lenet5'"),
        (
            "net.onnx",
            {"weights": "w.npz"},
            (
                "^--weights w.npz: net.onnx comes with its own; only a name of the zoo or of a "
                "source, as timm:resnet50, and package.module:callable take weights$"
            ),
        ),
        (
            "net.pth",
            {},
            (
                "^net.pth: a pickled checkpoint runs code when it is opened, so it is refused; of "
                "weights alone, give the network and them: package.module:callable --weights "
                "net.pth, or timm:NAME --weights net.pth; load a whole network in a program of "
                "yours and call "
                r"mlcnn.optimize\(module, example_input\), or export it to .pt2 with "
                "torch.export.save$"
            ),
        ),
        (
            "net.safetensors",
            {},
            (
                "^net.safetensors: weights alone; give the network, too: package.module:callable "
                "--weights net.safetensors, or timm:NAME --weights net.safetensors$"
            ),
        ),
        (
            "tim:resnet50",
            {},
            (
                "^tim:resnet50: no source of networks is called 'tim', did you mean 'timm'[?] "
                "Sources: hf, pytorchcv, timm, torchvision. As package.module:callable: importing "
                "tim failed, Python finds no module of this name from the current directory$"
            ),
        ),
        ("huggin:org/net", {}, "^huggin:org/net: no source of networks is called 'huggin'"),
        ("hff:org/net:a.onnx", {}, "is called 'hff', did you mean 'hf'[?] Sources: hf, "),
        (
            "https://hub.example/org/net.onnx",
            {},
            (
                "net.onnx: an address of the web is not read; download the file and give its path, "
                "or name a repository of Hugging Face as hf:ORG/NAME$"
            ),
        ),
        (
            "timm:",
            {},
            r"^timm:: timm:NAME is required, or timm:NAME\(argument=value\), with a name",
        ),
        ("timm:a(3)", {}, r"^timm:a\(3\): timm:NAME is required, or timm:NAME\(argument=value\)"),
        ("timm:a(b)", {}, r"^timm:a\(b\): b is no literal; an argument is a number, text in"),
    ],
)
def test_what_does_not_go_together(source: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        mlcnn.load(source, **options)  # pyright: ignore[reportArgumentType]


def test_a_module_needs_to_know_its_input() -> None:
    with pytest.raises(InputError, match="give an example input or input_shape"):
        mlcnn.load(small())
    with pytest.raises(InputError, match="must consist of tensors, got a ndarray; give a tensor"):
        mlcnn.load(small(), np.zeros((1, 3, 8, 8)))  # pyright: ignore[reportArgumentType]
    assert mlcnn.load(small(), input_shape=(2, 3, 8, 8)).graph.inputs


def test_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert [is_zoo_name(n) for n in ("vgg16", "a.onnx", "a:b", "./vgg16")] == [
        True, False, False, False,
    ]  # fmt: skip
    assert not is_zoo_name(Path("vgg16"))
    assert model_name("some/net.onnx") == "net"
    assert model_name("some.nets:build_it") == "build_it"
    assert model_name("some.nets:build_it('a/b', width=0.5)") == "build_it"
    assert model_name("timm:resnet50.a1_in1k(in_chans=1)") == "resnet50.a1_in1k"
    assert model_name("hf:org/net@v1:onnx/model.onnx") == "net"
    assert model_name(Path("net.pt2")) == "net"
    assert model_name(nn.ReLU()) == "relu"
