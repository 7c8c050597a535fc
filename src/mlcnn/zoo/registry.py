"""The table of networks: a row per architecture and input size, an entry per form of it."""

import importlib.resources
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from torch import nn

from mlcnn.errors import InputError, nearest
from mlcnn.zoo.alexnet import alexnet, alexnet_224
from mlcnn.zoo.densenet import densenet121, densenet_cifar
from mlcnn.zoo.googlenet import GoogLeNet
from mlcnn.zoo.lenet import LeNet5
from mlcnn.zoo.local_binary import local_binary
from mlcnn.zoo.pooling import Pooling
from mlcnn.zoo.resnet_cifar import resnet18, resnet20, resnet56
from mlcnn.zoo.resnet_imagenet import resnet18_224, resnet50_224
from mlcnn.zoo.tested import TestedPair, load_tested
from mlcnn.zoo.vgg import vgg16, vgg16_224, vgg19
from mlcnn.zoo.wide_resnet import wrn22_8

__all__ = ["Normalisation", "ZooEntry", "describe", "names", "with_pooling"]

Channels = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Normalisation:
    """What a network takes for an image x of 0..1: (x - mean) / std.

    One number for each channel (R, G, B), or one for all.
    """

    mean: Channels
    std: Channels


@dataclass(frozen=True, slots=True)
class ZooEntry:
    """One network of the zoo.

    Attributes:
        name: what it is called by.
        architecture: the name without its suffixes.
        input_shape: (channels, height, width) of one image.
        classes: number of logits.
        pooling: form of the pools between the stages.
        normalisation: what its weights, embedded or published, expect of an image.
        source: where the definition is published.
        definition: makes the module from ``classes`` and ``pooling``, and of a network of any size
            from ``shape``.
        passes: the pipeline that makes the network of what is defined; empty for most.
        any_size: whether it takes images of any size and number of channels.
    """

    name: str
    architecture: str
    input_shape: tuple[int, int, int]
    classes: int
    pooling: Pooling
    normalisation: Normalisation
    source: str
    definition: Callable[..., nn.Module]
    passes: str = ""
    any_size: bool = False

    def for_images(self, shape: tuple[int, int, int]) -> "ZooEntry":
        """The same network for images (channels, height, width), where it takes any size."""
        if not self.any_size:
            return self
        return replace(self, input_shape=shape, definition=partial(self.definition, shape=shape))

    @property
    def weights(self) -> Path | None:
        """The trained weights that the package carries for this network, if any."""
        return _embedded(f"{self.name}.npz")

    @property
    def reordered_weights(self) -> Path | None:
        """Embedded weights trained with the activations behind the pools; the same names."""
        return _embedded(f"{self.name}-reordered.npz")

    @property
    def tested(self) -> TestedPair | None:
        """What the embedded weights reach on the whole test set, original and reordered."""
        path = _embedded(f"{self.name}-tested.json")
        return None if path is None else load_tested(path)


def names(*, variants: bool = False) -> tuple[str, ...]:
    """The names of the networks, in the order of the table.

    Args:
        variants: also the forms with other pools and 100 classes, not the original ones alone.
    """
    entries = dict.fromkeys(_ENTRIES.values())
    originals = {row.architecture + row.size_suffix for row in _ROWS}
    return tuple(entry.name for entry in entries if variants or entry.name in originals)


def describe(name: str) -> ZooEntry:
    """The entry of a network.

    Args:
        name: ``ARCH[-avg|-all-conv][-100][-224]``. A form that equals the original (``-avg`` of a
            DenseNet, whose pools are average pools) is the original's entry.

    Raises:
        InputError: for an unknown name.
    """
    entry = _ENTRIES.get(name)
    if entry is None:
        near = _nearest(name.lower())
        hint = f", did you mean {near!r}?" if near else "."
        msg = (
            f"unknown network {name!r}{hint} The zoo has {', '.join(names())}; "
            "behind the architecture, -avg or -all-conv changes the pools, then -100 the classes"
        )
        raise InputError(msg)
    return entry


def with_pooling(entry: ZooEntry, pooling: Pooling) -> ZooEntry:
    """The same network with other pools.

    Raises:
        InputError: it has no such form.
    """
    forms = {
        other.pooling: other
        for other in _ENTRIES.values()
        if (other.architecture, other.input_shape, other.classes)
        == (entry.architecture, entry.input_shape, entry.classes)
    }
    if pooling not in forms:
        raise InputError(
            f"--pooling {pooling}: {entry.architecture} has no such form, only "
            f"{', '.join(sorted(forms))}"
        )
    return forms[pooling]


def _nearest(name: str) -> str | None:
    if name in _ENTRIES:
        return name
    longer = [known for known in _ENTRIES if known.startswith(f"{name}-")]
    return longer[0] if longer else nearest(name, _ENTRIES)


def _embedded(file_name: str) -> Path | None:
    path = Path(str(importlib.resources.files("mlcnn.zoo") / "weights" / file_name))
    return path if path.is_file() else None


_CIFAR = Normalisation((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
_ANY = Normalisation((0.5,), (0.25,))
_IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

# The pools by suffix of the name; no suffix is the original.
_Forms = Mapping[str, Pooling]
_ALL: _Forms = {"": Pooling.MAX, "-avg": Pooling.AVG, "-all-conv": Pooling.ALL_CONV}
_MAX_AVG: _Forms = {"": Pooling.MAX, "-avg": Pooling.AVG}
_AVG_CONV: _Forms = {"": Pooling.AVG, "-avg": Pooling.AVG, "-all-conv": Pooling.ALL_CONV}
# There is no pool but the global one, which every form keeps.
_GLOBAL: _Forms = {"": Pooling.AVG, "-avg": Pooling.AVG, "-all-conv": Pooling.AVG}

_KUANGLIU = "kuangliu/pytorch-cifar 49b7aa97"
_YANG = "bearpaw/pytorch-classification"
_HE = "He et al. 2016, Sec. 4.2; parameter names of akamaster/pytorch_resnet_cifar10"
_ZAGORUYKO = "Zagoruyko and Komodakis 2016, Table 1"
_TORCHVISION = "torchvision"
_JUEFEI = "blocks of juefeix/lbcnn.torch, our sizes"
_ANGIZI = "our reconstruction of CMPNET (Angizi et al. 2018) in these blocks"


@dataclass(frozen=True, slots=True)
class _Row:
    """An architecture at one input size."""

    architecture: str
    definition: Callable[..., nn.Module]
    forms: _Forms
    source: str
    normalisation: Normalisation = _CIFAR
    size: int = 32
    passes: str = ""
    any_size: bool = False

    @property
    def size_suffix(self) -> str:
        return "" if self.size == 32 else f"-{self.size}"

    @property
    def classes(self) -> Mapping[str, int]:
        return {"": 10, "-100": 100} if self.size == 32 else {"": 1000}

    def entries(self) -> dict[str, ZooEntry]:
        """Its entries by every name that they go by."""
        result: dict[str, ZooEntry] = {}
        for class_suffix, classes in self.classes.items():
            made: dict[Pooling, ZooEntry] = {}
            for form, pooling in self.forms.items():
                name = self.architecture + form + class_suffix + self.size_suffix
                entry = ZooEntry(
                    name, self.architecture, (3, self.size, self.size), classes, pooling,
                    self.normalisation, self.source, self.definition, self.passes, self.any_size,
                )  # fmt: skip
                result[name] = made.setdefault(pooling, entry)
        return result


_ROWS = (
    _Row("lenet5", LeNet5, _ALL, _KUANGLIU),
    _Row("vgg16", vgg16, _ALL, _KUANGLIU),
    _Row("vgg19", vgg19, _ALL, _KUANGLIU),
    _Row("googlenet", GoogLeNet, _ALL, _KUANGLIU),
    _Row("densenet_cifar", densenet_cifar, _AVG_CONV, _KUANGLIU),
    _Row("densenet121", densenet121, _AVG_CONV, _KUANGLIU),
    _Row("resnet18", resnet18, _GLOBAL, _KUANGLIU),
    _Row("alexnet", alexnet, _ALL, _YANG),
    _Row("resnet20", resnet20, _GLOBAL, _HE, _IMAGENET),
    _Row("resnet56", resnet56, _GLOBAL, _HE, _IMAGENET),
    _Row("wrn22_8", wrn22_8, _GLOBAL, _ZAGORUYKO),
    _Row("lbcnn_cnn", local_binary, _GLOBAL, _JUEFEI, _ANY, any_size=True),
    _Row("lbcnn", local_binary, _GLOBAL, _JUEFEI, _ANY, passes="fix-taps", any_size=True),
    _Row("cmpnet", local_binary, _GLOBAL, _ANGIZI, _ANY, passes="compare-taps", any_size=True),
    _Row("vgg16", vgg16_224, _ALL, _TORCHVISION, _IMAGENET, 224),
    _Row("resnet18", resnet18_224, _ALL, _TORCHVISION, _IMAGENET, 224),
    _Row("resnet50", resnet50_224, _ALL, _TORCHVISION, _IMAGENET, 224),
    # Its 3x3/2 pools leave sizes that no stride of the convolutions in front gives.
    _Row("alexnet", alexnet_224, _MAX_AVG, _TORCHVISION, _IMAGENET, 224),
)
_ENTRIES = {name: entry for row in _ROWS for name, entry in row.entries().items()}
