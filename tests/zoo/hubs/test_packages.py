"""Networks of timm, torchvision and pytorchcv, by the real packages."""

import json
import sys
from pathlib import Path

import pytest
import torch
from zoo.hubs.local_hub import Hub

import mlcnn
from mlcnn.errors import InputError
from mlcnn.zoo import Normalisation, hubs
from mlcnn.zoo.hubs.timm_networks import import_timm
from mlcnn.zoo.hubs.torchvision_networks import import_torchvision

IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def make(text: str, **options: object) -> hubs.Made:
    wanted = hubs.wanted(text, **options)
    return hubs.network_source(wanted.prefix).make(wanted)


def told(text: str, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        mlcnn.load(text, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_random_weights_come_from_the_seed(packages: None) -> None:
    state = torch.random.get_rng_state()
    for text in ("timm:test_resnet(pretrained=False)", "torchvision:squeezenet1_1(weights=None)"):
        first, again, other = (make(text, seed=seed).network for seed in (3, 3, 4))
        pairs = zip(first.parameters(), again.parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
        pairs = zip(first.parameters(), other.parameters(), strict=True)
        assert not all(torch.equal(a, b) for a, b in pairs)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(
    ("text", "shape", "normalisation"),
    [
        ("timm:test_resnet.r160_in1k(pretrained=False)", (3, 160, 160), None),
        ("timm:test_resnet(pretrained=False, in_chans=1)", (1, 160, 160), None),
        ("timm:resnet18(pretrained=False)", (3, 224, 224), IMAGENET),
        ("torchvision:alexnet(weights=None)", (3, 224, 224), IMAGENET),
        ("torchvision:inception_v3(weights='IMAGENET1K_V1')", (3, 299, 299), IMAGENET),
        ("torchvision:fasterrcnn_resnet50_fpn(weights=None)", None, None),
    ],
)
def test_the_images_that_a_network_takes(
    packages: None, text: str, shape: tuple[int, ...] | None, normalisation: Normalisation | None
) -> None:
    taken = mlcnn.api.images_taken(text)
    assert taken is not None
    assert taken.shape == shape
    if normalisation is not None:
        assert taken.normalisation == normalisation


def test_a_network_is_what_the_package_makes(packages: None, tmp_path: Path) -> None:
    timm = import_timm("")
    torch.manual_seed(1)
    module = timm.create_model("test_resnet", num_classes=5).eval()
    path = tmp_path / "own.pth"
    torch.save(module.state_dict(), path)
    text = "timm:test_resnet(num_classes=5)"
    model = mlcnn.load(text, weights=path, input_shape=(1, 3, 32, 32))
    images = torch.randn(2, 3, 32, 32)
    found = mlcnn.engines.get("onnxruntime").prepare(model)
    outputs = found.run({model.graph.inputs[0].name: images.numpy()})
    with torch.no_grad():
        expected = module(images)
    (output,) = outputs.values()
    torch.testing.assert_close(torch.from_numpy(output), expected, atol=1e-4, rtol=1e-4)
    assert model.graph.name == mlcnn.api.model_name(text) == "test_resnet"


def test_weights_of_timm_come_from_the_hub(packages: None, hub: Hub) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    timm = import_timm("")
    torch.manual_seed(2)
    module = timm.create_model("test_resnet")
    state = {name: value.contiguous() for name, value in module.state_dict().items()}
    hub.repositories["timm/test_resnet.r160_in1k"] = {
        "config.json": json.dumps({"architecture": "test_resnet"}).encode(),
        "model.safetensors": safetensors.save(state),
        "pytorch_model.bin": b"never asked for",
    }
    found = make("timm:test_resnet.r160_in1k").network.state_dict()
    assert all(torch.equal(found[name], value) for name, value in state.items())
    # The package adapts the trained weights to other channels and classes.
    found = make("timm:test_resnet(in_chans=1, num_classes=3)").network.state_dict()
    torch.testing.assert_close(
        found["conv1.0.weight"], state["conv1.0.weight"].sum(1, keepdim=True)
    )
    assert found["fc.weight"].shape[0] == 3
    assert not any("pytorch_model.bin" in path for path in hub.asked)


def test_without_the_hub_a_network_of_timm_has_no_weights(packages: None, no_hub: Path) -> None:
    assert told("timm:test_resnet") == (
        "timm:test_resnet: timm/test_resnet.r160_in1k is not in the cache, and the hub cannot be "
        "reached (ConnectError: [Errno 111] Connection refused); where there is a network, run "
        "`hf download timm/test_resnet.r160_in1k`, and copy its folder "
        f"models--timm--test_resnet.r160_in1k into {no_hub}, or give them by --weights, or take "
        "random ones: timm:test_resnet(pretrained=False)"
    )


@pytest.fixture
def torch_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where torchvision looks for weights, which cannot be fetched."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "torch"))

    def refuse(*_arguments: object, **_options: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("torch.hub.urlopen", refuse)
    folder = tmp_path / "torch" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


NAME = "squeezenet1_1-b8a52dc0.pth"


def test_without_network_torchvision_has_no_weights(packages: None, torch_cache: Path) -> None:
    assert told("torchvision:squeezenet1_1") == (
        "torchvision:squeezenet1_1: its weights cannot be fetched (OSError: no network); download "
        f"https://download.pytorch.org/models/{NAME} and put it into {torch_cache}, or give the "
        "file by --weights, or take random ones: torchvision:squeezenet1_1(weights=None)"
    )


class Trap:
    """What a hostile pickle does: run a function when it is read."""

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("trapped"),)


def test_weights_in_the_cache_of_torch_are_read_without_code(
    packages: None, torch_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torchvision = import_torchvision("")
    torch.manual_seed(0)
    state = torchvision.models.squeezenet1_1(weights=None).state_dict()
    torch.save(state, torch_cache / NAME)
    found = make("torchvision:squeezenet1_1").network.state_dict()
    assert all(torch.equal(found[name], value) for name, value in state.items())
    torch.save({**state, "trap": Trap()}, torch_cache / NAME)
    assert told("torchvision:squeezenet1_1") == (
        "torchvision:squeezenet1_1: its weights are a pickle that holds more than tensors, so they "
        "are refused; take random ones: torchvision:squeezenet1_1(weights=None)"
    )
    assert not Path("trapped").exists()


def test_weights_given_by_file_go_with_the_images_of_the_trained_ones(
    packages: None, tmp_path: Path
) -> None:
    # Trained, GoogLeNet converts its images itself; with random weights, it does not.
    assert make("torchvision:googlenet", weights=tmp_path / "w.pth").network.transform_input
    assert not make(
        "torchvision:googlenet(weights=None, init_weights=False)"
    ).network.transform_input


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("timm:resnet188", "has no network 'resnet188', did you mean 'resnet18'? timm.list_models"),
        ("timm:resnet18.a9", "has no such weights of resnet18; it has resnet18."),
        ("timm:resnet18(pretrained=False, deep=1)", "unexpected keyword argument 'deep'"),
        ("torchvision:resnt18", "has no network 'resnt18', did you mean 'resnet18'?"),
        (
            "torchvision:alexnet(weights='V1')",
            "there are no weights 'V1' of it; there are IMAGENET1K_V1, DEFAULT, and None for",
        ),
        ("torchvision:alexnet(weights=None, deep=1)", "unexpected keyword argument 'deep'"),
        ("torchvision:fasterrcnn_mobilenet_v3_large_fpn(weights=None, weights_backbone=None)",
         "its input's shape is not known; give --input-shape (batch first"),
        ("pytorchcv:resnt18", "pytorchcv has no network 'resnt18', did you mean 'resnet18'?"),
    ],
)  # fmt: skip
def test_what_a_package_does_not_have(packages: None, text: str, message: str) -> None:
    found = told(text)
    assert found.startswith(f"{text}: ")
    assert message in found


def test_pytorchcv() -> None:
    pytest.importorskip("pytorchcv")
    made = make("pytorchcv:resnet10(pretrained=False, in_size=(64, 32))")
    assert made.images.shape == (3, 64, 32)
    assert sum(p.numel() for p in made.network.parameters()) == 5_418_792  # of its own table


@pytest.mark.parametrize(
    ("text", "package", "extra"),
    [
        ("timm:resnet18", "timm", "mlcnn[hubs]"),
        ("torchvision:vgg16", "torchvision", "mlcnn[hubs]"),
        ("timm:resnet18", "torchvision", "mlcnn[hubs]"),
        ("pytorchcv:resnet18", "pytorchcv", "pytorchcv<0.0.68"),
    ],
)
def test_a_missing_package(
    packages: None, monkeypatch: pytest.MonkeyPatch, text: str, package: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert told(text) == f"{text}: the package {package} is missing: pip install '{extra}'"


def test_a_broken_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pytorchcv.py").write_text("raise RuntimeError('no operator')")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.partition(".")[0] == "pytorchcv"]:
        monkeypatch.delitem(sys.modules, name)
    assert told("pytorchcv:resnet18") == (
        "pytorchcv:resnet18: the package pytorchcv is broken, RuntimeError: no operator: install "
        f"the release that fits torch {torch.__version__}"
    )
