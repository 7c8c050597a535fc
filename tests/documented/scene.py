"""The reader's files, small: a network, labelled images, inputs."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

import mlcnn

__all__ = ["make_scene"]

_IMAGES, _CLASSES = 2600, 2  # `mlcnn skip` needs 50 of each part that it judges by


def _network(channels: int, size: int, classes: int) -> mlcnn.Optimized:
    torch.manual_seed(0)
    module = nn.Sequential()
    module.add_module("conv1", nn.Conv2d(channels, 8, 3, padding=1))
    module.add_module("pool1", nn.AvgPool2d(2))
    module.add_module("relu1", nn.ReLU())
    module.add_module("conv2", nn.Conv2d(8, 16, 3, padding=1))
    module.add_module("relu2", nn.ReLU())
    module.add_module("pool2", nn.MaxPool2d(2))
    module.add_module("conv3", nn.Conv2d(16, 16, 3, padding=1))
    module.add_module("relu3", nn.ReLU())
    module.add_module("flatten", nn.Flatten())
    module.add_module("classifier", nn.Linear(16 * (size // 4) ** 2, classes))
    example = torch.randn(2, channels, size, size)
    return mlcnn.optimize(module.eval(), example, passes="")


def _photos(folder: Path, generator: np.random.Generator) -> None:
    """Bright images and dark ones: something that a network can learn."""
    for index in range(_IMAGES):
        name = ("bright", "dark")[index % _CLASSES]
        path = folder / name / f"{index:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        low = 0 if name == "dark" else 96
        values = generator.integers(low, low + 160, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(values).save(path)


def _ten_classes(path: Path, generator: np.random.Generator) -> None:
    """What stands for CIFAR-10, whose files are refused when they are not whole."""
    images = generator.integers(0, 256, (_IMAGES, 3, 32, 32), dtype=np.uint8)
    np.savez(path, images=images, labels=np.arange(_IMAGES) % 10)


def _mnist(folder: Path, generator: np.random.Generator) -> None:
    folder.mkdir()
    for part, count in (("train", 2600), ("t10k", 100)):
        images = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 10
        for kind, values in (("images-idx3", images), ("labels-idx1", labels)):
            head = np.array([0x800 + values.ndim, *values.shape], ">u4").tobytes()
            (folder / f"{part}-{kind}-ubyte").write_bytes(head + values.tobytes())


_SHOP = """
from torch import nn


def build(depth=2, width=1.0):
    channels = max(2, int(8 * width))
    layers = [nn.Conv2d(3, channels, 3, padding=1), nn.ReLU()]
    for _ in range(depth - 1):
        layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))
"""


def _shop(folder: Path) -> None:
    """A module that builds a network, and trained weights of it."""
    (folder / "shop").mkdir()
    (folder / "shop" / "nets.py").write_text(_SHOP, encoding="utf-8")
    names: dict[str, Any] = {}
    exec(_SHOP, names)  # noqa: S102 - ours
    for name in ("net.pth", "trained.pth"):
        torch.save(names["build"]().state_dict(), folder / name)


def make_scene(folder: Path) -> None:
    """Write what the pages take for given into an empty folder.

    ``mnist`` is a folder here: a path comes before a download.
    """
    generator = np.random.default_rng(0)
    network = _network(3, 32, _CLASSES)
    for name in ("net.onnx", "before.onnx", "old.onnx", "baseline.onnx"):
        network.save(folder / name)
    for name in ("after.onnx", "new.onnx"):
        mlcnn.optimize(folder / "net.onnx").save(folder / name)
    _network(1, 28, 10).save(folder / "digits.onnx")
    (name,) = (value.name for value in network.model.graph.inputs)
    image = generator.standard_normal((2, 3, 32, 32)).astype(np.float32)
    np.savez(folder / "data.npz", **{str(name): image})
    _photos(folder / "photos", generator)
    _ten_classes(folder / "ten-classes.npz", generator)
    weights = mlcnn.nn.to_module(mlcnn.load("resnet20", dropout=True))
    mlcnn.training.save_weights(weights, folder / "resnet20.npz")
    _mnist(folder / "mnist", generator)
    _shop(folder)
