"""The public trained ResNets load and reach their published accuracy, image for image.

The data is not part of the repository: MLCNN_DATA names its folder, by default the one that
stands beside a checkout.
"""

import importlib.util
import os
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mlcnn.zoo import build, describe, load_weights

DATA = Path(os.environ.get("MLCNN_DATA", Path(__file__).parents[3] / "shared" / "data"))
# akamaster/pytorch_resnet_cifar10: per cent of CIFAR-10's test images, in inference.
ACCURACY = {"resnet20": 91.73, "resnet56": 93.39}

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no data in {DATA}")


@pytest.fixture(scope="module")
def cifar10() -> tuple[Tensor, Tensor]:
    """Test images (10000, 3, 32, 32) of 0..1 and their classes."""
    folder = DATA / "images"
    spec = importlib.util.spec_from_file_location("imgsets", folder / "imgsets.py")
    assert spec is not None
    assert spec.loader is not None
    reader = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reader)
    images, labels = reader.load(folder / "cifar10-test.imgxz")
    return torch.tensor(images).float() / 255, torch.tensor(labels).long()


def per_cent_right(name: str, images: Tensor, labels: Tensor) -> float:
    module = build(name)
    load_weights(module, DATA / "weights" / f"{name}-cifar10.npz")
    normalisation = describe(name).normalisation
    mean, std = (
        torch.tensor(values).view(3, 1, 1) for values in (normalisation.mean, normalisation.std)
    )
    with torch.no_grad():
        right = sum(
            int((module((part - mean) / std).argmax(1) == wanted).sum())
            for part, wanted in zip(images.split(250), labels.split(250), strict=True)
        )
    return 100 * right / len(images)


@pytest.mark.parametrize("name", ACCURACY)
def test_weights_fit(name: str, cifar10: tuple[Tensor, Tensor]) -> None:
    images, labels = cifar10
    # Over 250 images the standard error is 1.7 per cent.
    assert per_cent_right(name, images[:250], labels[:250]) > ACCURACY[name] - 6


@pytest.mark.long
@pytest.mark.parametrize("name", ACCURACY)
def test_accuracy(name: str, cifar10: tuple[Tensor, Tensor]) -> None:
    assert per_cent_right(name, *cifar10) == pytest.approx(ACCURACY[name], abs=1e-9)
