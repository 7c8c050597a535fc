"""Networks of the Hugging Face hub, by its real library, from a server on this machine."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from zoo.hubs.local_hub import COMMIT, Hub, first_weight, network

import mlcnn
from mlcnn.errors import InputError
from mlcnn.zoo import hubs
from mlcnn.zoo.hubs.timm_networks import import_timm

WEIGHT = np.arange(108, dtype=np.float32).reshape(4, 3, 3, 3)
TIMM = {
    "architecture": "test_resnet",
    "num_classes": 7,
    "pretrained_cfg": {"input_size": [3, 32, 32], "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.2, 0.3]},
}


def told(text: str, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        mlcnn.load(text, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_onnx_file(hub: Hub) -> None:
    hub.repositories["org/net"] = {"README.md": b"#", "sub/one.onnx": network()}
    for text in ("hf:org/net", "hf:org/net@v1", "hf:org/net:sub/one.onnx"):
        model = mlcnn.load(text)
        assert np.array_equal(first_weight(model), WEIGHT)
        assert mlcnn.api.model_name(text) == "net"
    assert any("resolve/v1/sub/one.onnx" in path for path in hub.asked)
    assert list(mlcnn.load("hf:org/net", input_shape=(1, 3, 8, 8)).graph.outputs[0].shape)[1:]


def test_an_onnx_file_has_its_own_weights(hub: Hub) -> None:
    hub.repositories["org/net"] = {"a.onnx": network()}
    assert told("hf:org/net", weights="w.npz") == (
        "--weights w.npz: a.onnx of hf:org/net has its own weights; leave the option away"
    )


def test_weights_beside_an_onnx_file(hub: Hub, tmp_path: Path) -> None:
    files = {"onnx/model.onnx": network(outside="w.data"), "onnx/w.data": WEIGHT.tobytes()}
    hub.repositories["org/net"] = files
    model = mlcnn.load("hf:org/net")
    assert np.array_equal(first_weight(model), WEIGHT)
    # Nothing to rewrite: the files are copied as they are, though the cache has links to them.
    mlcnn.optimize("hf:org/net").save(tmp_path / "copy.onnx")
    assert np.array_equal(first_weight(mlcnn.load(tmp_path / "copy.onnx")), WEIGHT)


def test_without_network_the_cache_is_read(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    hub.repositories["org/net"] = {"model.onnx": network(), "other.txt": b""}
    mlcnn.load("hf:org/net")
    count = len(hub.asked)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert np.array_equal(first_weight(mlcnn.load("hf:org/net")), WEIGHT)
    assert np.array_equal(first_weight(mlcnn.load(f"hf:org/net@{COMMIT}")), WEIGHT)
    assert len(hub.asked) == count
    assert told("hf:org/net:other.txt") == (
        "hf:org/net:other.txt: org/net has no file 'other.txt' in the cache, did you mean "
        "'model.onnx'?"
    )
    assert told("hf:org/new") == (
        "hf:org/new: org/new is not in the cache, and the hub cannot be reached (HF_HUB_OFFLINE is "
        "set); where there is a network, run `hf download org/new`, and copy its folder "
        f"models--org--new into {cache}"
    )


def test_a_hub_that_is_not_reached(no_hub: Path) -> None:
    assert told("hf:org/net") == (
        "hf:org/net: org/net is not in the cache, and the hub cannot be reached (ConnectError: "
        "[Errno 111] Connection refused); where there is a network, run `hf download org/net`, and "
        f"copy its folder models--org--net into {no_hub}"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "hf:org/none",
            (
                "the hub has no repository org/none, or it is private: check the name, or log in "
                "with `hf auth login`"
            ),
        ),
        (
            "hf:org/gated",
            "org/gated is gated: ask for access on its page, then log in with `hf auth login`",
        ),
        ("hf:org/many@v7", "org/many has no revision 'v7'"),
        (
            "hf:org/many",
            (
                "org/many has several networks: a.onnx, b.onnx; name one of them, as "
                "hf:org/many:a.onnx"
            ),
        ),
        ("hf:org/many:aa.onnx", "org/many has no file 'aa.onnx', did you mean 'a.onnx'?"),
        ("hf:org/many:notes", "notes is no file that is read: .onnx or .safetensors"),
        ("hf:org/many:a.onnx(size=3)", "a.onnx is a file and takes no arguments"),
        ("hf:org/empty", "org/empty has no .onnx or .safetensors file, only README.md"),
        (
            "hf:org/broken",
            "not an ONNX file, or a truncated one: it does not parse as a model",
        ),
        ("hf:a/b/c", "hf:ORG/NAME, perhaps with @REVISION and :PATH, is required (HFValidation"),
    ],
)
def test_what_cannot_be_used_is_one_message(hub: Hub, text: str, message: str) -> None:
    hub.refused["org/gated"] = (401, "GatedRepo")
    hub.repositories["org/many"] = {"a.onnx": network(), "b.onnx": network(), "notes": b"x"}
    hub.repositories["org/empty"] = {"README.md": b"#"}
    hub.repositories["org/broken"] = {"model.onnx": b"no network"}
    found = told(text)
    assert message in found
    assert text.partition("(")[0] in found or "model.onnx" in found


def test_pickles_are_refused_with_the_way_to_convert_them(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repositories["org/old"] = {"config.json": b"{}", "pytorch_model.bin": b"\x80\x02K\x01."}
    for text in ("hf:org/old", "hf:org/old:pytorch_model.bin"):
        message = told(text)
        assert message == (
            f"{text}: pytorch_model.bin of org/old is a pickle, which can run code when it is "
            "opened, so it is refused; fetch it by `hf download org/old pytorch_model.bin` and "
            "convert it in Python: import torch, safetensors.torch; state = "
            "torch.load('pytorch_model.bin', weights_only=True); "
            "state = state.state_dict() if hasattr(state, 'state_dict') else "
            "state.get('state_dict', state); safetensors.torch.save_file({k: "
            "v.contiguous().clone() for k, v in state.items()}, 'pytorch_model.safetensors'); then "
            "give --weights pytorch_model.safetensors beside the name of the network"
        )
    assert not any("resolve" in path for path in hub.asked)  # it was not even fetched
    # The recipe works.
    safetensors = pytest.importorskip("safetensors.torch")
    monkeypatch.chdir(tmp_path)
    shared = torch.randn(4, 3).T
    torch.save({"state_dict": {"a": shared, "b": shared}}, "pytorch_model.bin")
    recipe = message.partition("in Python: ")[2].partition("; then give")[0]
    exec(recipe, {})  # noqa: S102
    loaded = safetensors.load_file("pytorch_model.safetensors")
    assert torch.equal(loaded["a"], shared)
    assert torch.equal(loaded["b"], shared)


def stored(module: torch.nn.Module) -> bytes:
    safetensors = pytest.importorskip("safetensors.torch")
    return safetensors.save({k: v.contiguous() for k, v in module.state_dict().items()})


@pytest.fixture
def network_of_timm(packages: None) -> Callable[..., torch.nn.Module]:
    """Makes the module of the repositories below."""
    timm = import_timm("")

    def make(seed: int) -> torch.nn.Module:
        torch.manual_seed(seed)
        return timm.create_model("test_resnet", num_classes=7).eval()

    return make


def test_weights_of_timm(hub: Hub, network_of_timm: Callable[..., torch.nn.Module]) -> None:
    module = network_of_timm(5)
    config = json.dumps(TIMM).encode()
    hub.repositories["timm/t"] = {"config.json": config, "model.safetensors": stored(module)}
    wanted = hubs.wanted("hf:timm/t")
    made = hubs.network_source("hf").make(wanted)
    assert isinstance(made.network, torch.nn.Module)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(made.network.eval()(images), module(images))
    assert made.images.shape == (3, 32, 32)
    taken = mlcnn.api.images_taken("hf:timm/t")
    assert taken is not None
    assert taken.normalisation == mlcnn.zoo.Normalisation((0.5, 0.5, 0.5), (0.25, 0.2, 0.3))


def test_weights_that_do_not_fit_the_configuration(
    hub: Hub, network_of_timm: Callable[..., torch.nn.Module]
) -> None:
    config = json.dumps({**TIMM, "num_classes": 9}).encode()
    weights = stored(network_of_timm(0))
    hub.repositories["timm/t"] = {"config.json": config, "model.safetensors": weights}
    assert "fc.weight has shape (7, 96), required is (9, 96)" in told("hf:timm/t")
    wanted = hubs.wanted("hf:timm/t(num_classes=7)")
    assert hubs.network_source("hf").make(wanted).images.shape == (3, 32, 32)


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (None, "none"),
        ({"architectures": ["ResNetForImageClassification"], "model_type": "resnet"}, "resnet"),
        ({"architecture": "hf-hub:other/net"}, "hf-hub:other/net"),
        ([1], "none"),
    ],
)
def test_weights_of_another_library(hub: Hub, packages: None, config: object, kind: str) -> None:
    hub.repositories["org/w"] = {"model.safetensors": b""}
    if config is not None:
        hub.repositories["org/w"]["config.json"] = json.dumps(config).encode()
    assert told("hf:org/w") == (
        "hf:org/w: model.safetensors holds weights alone, and config.json names no network of timm "
        f"({kind}); give what builds it, and them: package.module:callable --weights "
        "model.safetensors, which `hf download org/w model.safetensors` fetches"
    )


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    assert told("hf:org/net") == (
        "hf:org/net: the package huggingface_hub is missing: pip install 'mlcnn[hf]'"
    )
