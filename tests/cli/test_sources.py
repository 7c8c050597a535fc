"""Networks by the names of sources, on the command line; what goes wrong is one line, exit 2."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mlcnn as package
from mlcnn.training import ImageSet, Normal

Call = Callable[..., Any]

SHOP = """
import torch

class Shop:
    summary = "a network of the shop"
    needs = "nothing"

    def images(self, wanted):
        from mlcnn.zoo import Normalisation
        from mlcnn.zoo.hubs import Images
        return Images((3, 8, 8), Normalisation((0.5,), (0.25,)), "center crop")

    def make(self, wanted):
        from mlcnn.zoo.hubs import Made
        size = wanted.call.keywords.get("pool", 2)
        layers = torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.AvgPool2d(size)
        flat = torch.nn.Flatten(), torch.nn.Linear(4 * (8 // size) ** 2, 2)
        return Made(torch.nn.Sequential(*layers, *flat), self.images(wanted))

SHOP = Shop()
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package with a source, installed: its metadata are found as those of any other."""
    site = tmp_path / "site"
    information = site / "shop_site-1.0.dist-info"
    information.mkdir(parents=True)
    (site / "shop_of_site.py").write_text(SHOP)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: shop-site\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[mlcnn.sources]\nshop = shop_of_site:SHOP\n")
    monkeypatch.syspath_prepend(site)


def test_a_network_of_a_source_is_optimized(mlcnn: Call, shop: None) -> None:
    result = mlcnn("optimize", "shop:small(pool=4)")
    assert result.code == 0
    assert result.err.splitlines()[0] == (
        "mlcnn: note: small takes 3x8x8 images x of 0..1 as (x - (0.5)) / (0.25), center crop"
    )
    assert Path("small-mlcnn.onnx").is_file()


def test_images_are_normalised_as_the_source_says(shop: None) -> None:
    images = ImageSet("some", np.zeros((2, 3, 8, 8), np.uint8), np.zeros(2, np.int64), 2)
    assert package.ImageOptions().normal(images, "shop:small") == (Normal((0.5,), (0.25,)), None)
    given = package.ImageOptions(mean=(0.1,), std=(0.2,))
    assert given.normal(images, "shop:small") == (Normal((0.1,), (0.2,)), None)
    assert package.ImageOptions().normal(images, "net.onnx")[0] == Normal()


def test_sources_are_listed(mlcnn: Call, shop: None) -> None:
    found = {entry["name"]: entry for entry in mlcnn("list", "sources", "--json").json["entries"]}
    assert set(found) == {"hf", "pytorchcv", "shop", "timm", "torchvision"}
    assert found["shop"]["about"] == "a network of the shop; needs nothing"


UNKNOWN = (
    "tim:resnet50: no source of networks is called 'tim', did you mean 'timm'? Sources: hf, "
    "pytorchcv, timm, torchvision. As package.module:callable: importing tim failed, Python finds "
    "no module of this name from the current directory"
)
MISSING = "timm:resnet50: the package torchvision is missing: pip install 'mlcnn[hubs]'"
NO_LITERAL = (
    "json:loads(s=open('a')): open('a') is no literal; an argument is a number, text in quotes, "
    "True, False, None, or a list, tuple or dict of such"
)
PICKLED = (
    "weights.bin: a pickled checkpoint runs code when it is opened, so it is refused; of weights "
    "alone, give the network and them: package.module:callable --weights weights.bin, or timm:NAME "
    "--weights weights.bin; load a whole network in a program of yours and call "
    "mlcnn.optimize(module, example_input), or export it to .pt2 with torch.export.save"
)


@pytest.mark.parametrize("command", ["run", "optimize", "count", "bench", "evaluate", "explore"])
@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("tim:resnet50", UNKNOWN),
        ("timm:resnet50", MISSING),
        ("json:loads(s=open('a'))", NO_LITERAL),
        ("weights.bin", PICKLED),
    ],
)
def test_what_cannot_be_used_is_one_line(
    mlcnn: Call, monkeypatch: pytest.MonkeyPatch, command: str, model: str, message: str
) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    result = mlcnn(command, model)
    assert (result.code, result.out, result.error) == (2, "", message)
