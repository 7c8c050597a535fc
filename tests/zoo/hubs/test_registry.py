"""Prefixes: whose they are, and sources of other packages by their entry points."""

import re
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import mlcnn
from mlcnn.api.nests import split_layer
from mlcnn.errors import InputError
from mlcnn.zoo import hubs
from mlcnn.zoo.hubs import registry

PAGE = Path(__file__).parents[3] / "docs" / "networks.md"
GROUP = "mlcnn.sources"
Install = Callable[..., None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Replaces the sources that other packages have."""

    def these(*entries: EntryPoint) -> None:
        monkeypatch.setattr(registry, "entry_points", lambda **_: entries)

    return these


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, install: Install) -> None:
    """The source that the documentation makes, installed."""
    example = PAGE.read_text(encoding="utf-8").partition("## A source of your own")[2]
    (code,) = re.findall(r"```python\n(.*?)```", example, re.DOTALL)
    (tmp_path / "shop_of_docs.py").write_text(f"{code}\n\nSHOP = Shop()\nNUMBER = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    install(EntryPoint("shop", "shop_of_docs:SHOP", GROUP))


def test_a_source_of_another_package(shop: None) -> None:
    model = mlcnn.load("shop:small(width=5)")
    assert str(model.graph.inputs[0].shape) == "[batch,3,32,32]"
    assert str(model.graph.outputs[0].shape) == "[batch,5,30,30]"
    assert mlcnn.api.model_name("shop:small(width=5)") == model.graph.name == "small"
    assert "shop" in [entry.name for entry in mlcnn.api.listed("sources")]
    told = mlcnn.api.describe("sources", "shop")
    assert told.about == "a network of the shop, as shop:small; needs nothing"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            "gone:SHOP",
            (
                "shop: this source of networks (gone:SHOP) cannot be loaded, ModuleNotFoundError: "
                "No module named 'gone'; repair or uninstall it"
            ),
        ),
        (
            "shop_of_docs:NUMBER",
            (
                "shop: shop_of_docs:NUMBER is no source of networks: it is a int; see "
                "mlcnn.zoo.hubs.NetworkSource"
            ),
        ),
    ],
)
def test_a_broken_source(shop: None, install: Install, value: str, message: str) -> None:
    install(EntryPoint("shop", value, GROUP))
    with pytest.raises(InputError) as caught:
        mlcnn.load("shop:small")
    assert str(caught.value) == message
    # It does not keep the others from being listed.
    listed = {entry.name: entry.about for entry in mlcnn.api.listed("sources")}
    assert listed["shop"] == message
    assert "timm" in listed


def test_two_packages_with_one_prefix(shop: None, install: Install) -> None:
    install(EntryPoint("timm", "shop_of_docs:SHOP", GROUP))
    with pytest.raises(InputError) as caught:
        mlcnn.load("timm:small")
    assert str(caught.value) == (
        "timm: 2 packages provide this source of networks: shop_of_docs:SHOP, "
        "mlcnn.zoo.hubs.timm_networks:TIMM; uninstall all but one"
    )


def test_a_prefix_goes_before_a_module_of_its_name(shop: None, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text("raise RuntimeError")
    assert not mlcnn.api.is_zoo_name("shop:small")
    assert mlcnn.api.images_taken("shop:small") == hubs.Images((3, 32, 32))


def test_an_unknown_source_is_not_described() -> None:
    with pytest.raises(
        InputError, match="no source of networks is called 'tim', did you mean 'timm'"
    ):
        mlcnn.api.describe("sources", "tim")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("timm:resnet18", ("timm:resnet18", None)),
        ("timm:resnet18.a1_in1k:layer1.0.conv1", ("timm:resnet18.a1_in1k", "layer1.0.conv1")),
        ("timm:resnet18(x='):')", ("timm:resnet18(x='):')", None)),
        ("timm:vgg11(a=None):features.0", ("timm:vgg11(a=None)", "features.0")),
        ("json:loads('a:b'):conv", ("json:loads('a:b')", "conv")),
        ("hf:org/net", ("hf:org/net", None)),
        ("hf:org/net:conv", ("hf:org/net", "conv")),
        ("hf:org/net@v1:a/b.onnx:conv", ("hf:org/net@v1:a/b.onnx", "conv")),
        ("hf:org/net:model.safetensors", ("hf:org/net:model.safetensors", None)),
    ],
)  # fmt: skip
def test_a_layer_stands_behind_a_network_of_a_source(
    text: str, expected: tuple[str, str | None]
) -> None:
    assert split_layer(text) == expected


def test_the_built_in_sources_are_entry_points_like_others() -> None:
    project = (PAGE.parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    section = project.partition('[project.entry-points."mlcnn.sources"]\n')[2].partition("\n\n")[0]
    declared = dict(re.findall(r'^(\S+) = "(\S+)"$', section, re.MULTILINE))
    assert declared == {name: entry.value for name, entry in registry._BUILT_IN.items()}
    assert all(isinstance(hubs.network_source(name), hubs.NetworkSource) for name in declared)
