"""Names of the zoo and what they stand for."""

import pytest

from mlcnn.errors import InputError
from mlcnn.zoo import Pooling, describe, names

ORIGINALS = (
    "lenet5",
    "vgg16",
    "vgg19",
    "googlenet",
    "densenet_cifar",
    "densenet121",
    "resnet18",
    "alexnet",
    "resnet20",
    "resnet56",
    "wrn22_8",
    "lbcnn_cnn",
    "lbcnn",
    "cmpnet",
    "vgg16-224",
    "resnet18-224",
    "resnet50-224",
    "alexnet-224",
)


def test_names_lists_the_originals() -> None:
    assert names() == ORIGINALS


def test_variants_describe_as_themselves() -> None:
    variants = names(variants=True)
    assert set(ORIGINALS) < set(variants)
    assert len(set(variants)) == len(variants)
    for name in variants:
        assert describe(name).name == name


@pytest.mark.parametrize(
    ("name", "shape", "classes", "pooling"),
    [
        ("vgg16", (3, 32, 32), 10, Pooling.MAX),
        ("vgg16-avg", (3, 32, 32), 10, Pooling.AVG),
        ("vgg16-all-conv", (3, 32, 32), 10, Pooling.ALL_CONV),
        ("vgg16-100", (3, 32, 32), 100, Pooling.MAX),
        ("vgg16-avg-100", (3, 32, 32), 100, Pooling.AVG),
        ("vgg16-224", (3, 224, 224), 1000, Pooling.MAX),
        ("vgg16-avg-224", (3, 224, 224), 1000, Pooling.AVG),
        ("densenet121", (3, 32, 32), 10, Pooling.AVG),
    ],
)
def test_suffixes(name: str, shape: tuple[int, int, int], classes: int, pooling: Pooling) -> None:
    entry = describe(name)
    assert (entry.input_shape, entry.classes, entry.pooling) == (shape, classes, pooling)


def test_a_form_equal_to_the_original_is_the_original() -> None:
    assert describe("densenet121-avg") is describe("densenet121")
    assert describe("resnet18-all-conv-100") is describe("resnet18-100")


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("VGG16", "vgg16"),
        ("lenet", "lenet5"),
        ("google-net", "googlenet"),
        ("resnet50", "resnet50-224"),
        ("vgg16-100-224", "vgg16-224"),
        ("alexnet-all-conv-224", "alexnet-all-conv"),
    ],
)
def test_unknown_name_suggests_the_nearest(wrong: str, near: str) -> None:
    with pytest.raises(InputError) as caught:
        describe(wrong)
    assert str(caught.value) == (
        f"unknown network {wrong!r}, did you mean {near!r}? The zoo has {', '.join(ORIGINALS)}; "
        "behind the architecture, -avg or -all-conv changes the pools, then -100 the classes"
    )


def test_nothing_is_suggested_where_nothing_is_near() -> None:
    with pytest.raises(InputError, match=r"^unknown network '\?'\. The zoo has lenet5, "):
        describe("?")
