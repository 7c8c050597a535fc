"""The one way in for labelled images: found by content, split by a hash of each image.

No choice is made on test images: what is chosen (the best checkpoint, a threshold, a form) is
chosen on the validation images, ranges of a quantiser come from the calibration images.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mlcnn.errors import InputError
from mlcnn.training.accuracy import check_labels
from mlcnn.training.download import DOWNLOADS, download
from mlcnn.training.formats import DATASETS, Files, open_files, read_standard, read_svhn, recognise
from mlcnn.training.images import ImageSet, Normal
from mlcnn.training.own_images import Size, class_folders, from_callable, read_arrays, read_folder

__all__ = [
    "Data",
    "Images",
    "TooFewImagesError",
    "normal_for",
    "open_data",
    "read_images",
]

# Which part of 0..1 each split takes; the test images only where the data have none of their own.
_CALIBRATION = 0.02
_VALIDATION = 0.10
_TEST = 0.20
_TEST_FOLDERS = ("test", "val", "valid", "validation")
_TRAIN_FOLDERS = ("train", "training")


class TooFewImagesError(InputError):
    """There are not enough images for all parts."""


@dataclass(frozen=True, slots=True)
class Images:
    """Labelled images as their owner keeps them.

    Attributes:
        name: of the data, for reports.
        given: all images but the test images; None where there are only those.
        test: test images of their own; None where there are none.
        class_names: by label, where they are known.
    """

    name: str
    given: ImageSet | None
    test: ImageSet | None = None
    class_names: tuple[str, ...] | None = None

    @property
    def to_measure(self) -> ImageSet:
        """What accuracy is measured on where nothing is trained: the test images, or all."""
        found = self.given if self.test is None else self.test
        if found is None:
            raise InputError(f"{self.name}: no images")
        return found

    @property
    def classes(self) -> int:
        """Number of classes."""
        return max(part.classes for part in (self.given, self.test) if part is not None)


@dataclass(frozen=True, slots=True)
class Data:
    """Labelled images for training, in parts that share no image.

    Attributes:
        name: of the data, for reports.
        training: what gradients are of.
        calibration: 2 per cent: ranges of quantisers and statistics come from these.
        validation: 8 per cent: what choices are made on.
        test: what is reported; nothing is chosen on these. The data's own test images, or else 10
            per cent.
        class_names: by label, where they are known.
    """

    name: str
    training: ImageSet
    calibration: ImageSet
    validation: ImageSet
    test: ImageSet
    class_names: tuple[str, ...] | None = None

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(channels, height, width)."""
        return self.training.images.shape[1:]

    def first(self, count: int) -> "Data":
        """The same with at most ``count`` training images, for a quick try."""
        return replace(self, training=self.training.first(count))

    def require_fit(self, classes: int, shape: Sequence[object], where: str) -> None:
        """Refuse data that do not go with a network.

        Args:
            classes: number of its logits.
            shape: (channels, height, width) of its input; what is no number is not checked.
            where: what the message begins with.

        Raises:
            InputError: other classes, or images of another size.
        """
        if self.class_names is not None and len(self.class_names) != classes:
            raise InputError(
                f"{where}: {self.name} has {len(self.class_names)} classes, the network tells "
                f"{classes} apart; give the images that belong to its classes"
            )
        for part in (self.training, self.calibration, self.validation, self.test):
            check_labels(part.labels, classes, f"{where}: {part.name}")
        wrong = any(
            isinstance(wanted, int) and wanted != size
            for wanted, size in zip(shape, self.image_shape, strict=True)
        )
        if wrong:
            got, wanted = ("x".join(map(str, sizes)) for sizes in (self.image_shape, shape))
            raise InputError(
                f"{where}: the images of {self.name} are {got}, the network takes {wanted}; "
                f"for other heights and widths give --resize"
            )


def open_data(given: "str | PathLike[str]", *, resize: Size | None = None) -> Data:
    """Labelled images, in training, calibration, validation and test images.

    The parts are fixed fractions by a hash of each image's content: the same images give the same
    parts on every machine, in every order, and equal images never lie in two parts.

    Args:
        given: a folder (of class folders, perhaps under ``train`` and ``test``; or of CIFAR, MNIST
            or SVHN files), an archive of such files, an ``.npz`` or ``.mat`` file,
            ``package.module:callable`` that returns a torch data set, or the name of a public data
            set, which is downloaded once.
        resize: bring image files to this height and width.

    Raises:
        InputError: the data cannot be read, or are too few to be split.
    """
    images = read_images(given, resize=resize)
    if images.given is None:
        raise InputError(f"{given}: only test images are here; training needs images of its own")
    where = images.given.fractions()
    test = images.test
    if test is None:
        test = _part(images, (where >= _VALIDATION) & (where < _TEST), "test")
        end = _TEST
    else:
        end = _VALIDATION
    classes = images.classes
    parts = {
        "training": _part(images, where >= end, "training"),
        "calibration": _part(images, where < _CALIBRATION, "calibration"),
        "validation": _part(images, (where >= _CALIBRATION) & (where < _VALIDATION), "validation"),
        "test": test,
    }
    if len(np.unique(parts["training"].labels)) < 2:
        raise InputError(f"{given}: all training images are of one class; at least two are needed")
    same = {name: replace(part, classes=classes) for name, part in parts.items()}
    return Data(images.name, **same, class_names=images.class_names)


def _part(images: Images, which: Any, name: str) -> ImageSet:
    whole = images.given
    if whole is None or not which.any():
        count = 0 if whole is None else len(whole)
        raise TooFewImagesError(
            f"{images.name}: its {count} images are too few: none falls to the {name} images; at "
            "least 200 are needed, better thousands"
        )
    return whole.chosen(which, f"{images.name}, {name}")


def read_images(given: "str | PathLike[str]", *, resize: Size | None = None) -> Images:
    """Labelled images as their owner keeps them, in no parts but test images of their own.

    Args:
        given: see ``open_data``.
        resize: see ``open_data``.

    Raises:
        InputError: the data cannot be read.
    """
    path = Path(given)
    text = str(given)
    if not path.exists() and text in DOWNLOADS:
        return _standard(text, open_files(download(text)))
    if not path.exists() and ":" in text and "/" not in text and "\\" not in text:
        return Images(text, *from_callable(text))
    if not path.exists():
        known = ", ".join(DOWNLOADS)
        raise InputError(f"{given}: no such file or folder; data sets known by name are {known}")
    if path.is_file():
        return _from_file(path)
    files = open_files(path)
    name = recognise(files)
    return _from_folder(path, resize) if name is None else _standard(name, files)


def _from_file(path: Path) -> Images:
    if path.suffix == ".mat":
        return Images(path.name, read_svhn(path.read_bytes(), path, path.name))
    try:
        magic = path.read_bytes()[:2] if path.stat().st_size < 2 else _head(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    if path.suffix == ".npz" or magic == b"PK":
        return Images(path.name, *read_arrays(path))
    files = open_files(path)
    name = recognise(files)
    if name is None:
        raise InputError(
            f"{path}: an archive without a data set that is known: {', '.join(DATASETS)}; unpack "
            "it and give the folder"
        )
    return _standard(name, files)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(2)


def _standard(name: str, files: Files) -> Images:
    return Images(name, read_standard(name, files, "train"), read_standard(name, files, "test"))


def _from_folder(path: Path, resize: Size | None) -> Images:
    arrays = sorted(path.glob("*.npz"))
    if len(arrays) == 1:
        return Images(arrays[0].name, *read_arrays(arrays[0]))
    train, test = (_inner(path, names) for names in (_TRAIN_FOLDERS, _TEST_FOLDERS))
    root = path if train is None else train
    classes = class_folders(root)
    if not classes:
        raise InputError(
            f"{path}: no data here: neither folders of images, one for each class, nor a data set "
            f"in its standard format ({', '.join(DATASETS)})"
        )
    own_test = None if train is None or test is None else read_folder(test, classes, resize)
    return Images(path.name, read_folder(root, classes, resize), own_test, classes)


def _inner(path: Path, names: Sequence[str]) -> Path | None:
    return next((path / name for name in names if (path / name).is_dir()), None)


class HasNormalisation(Protocol):
    """What the zoo, or a source, knows of a network."""

    @property
    def normalisation(self) -> Any:
        """With ``mean`` and ``std``, of images in 0..1; None where that is not known."""
        ...


def normal_for(
    images: ImageSet,
    entry: HasNormalisation | None = None,
    *,
    mean: tuple[float, ...] = (),
    std: tuple[float, ...] = (),
    scale: float | None = None,
) -> tuple[Normal, str | None]:
    """How the images go to a network, and what the reader must know about that.

    Args:
        images: the images.
        entry: the network's in the zoo or a source, if it is of one.
        mean: what the user asks for; of images in 0..1, unless ``scale`` says otherwise.
        std: likewise.
        scale: factor of the images of the file; 1/255 for bytes by default.

    Returns:
        Images that are numbers with a fraction go as they are: they are normalised already.
    """
    if mean or std or scale is not None:
        usual = 1 / 255 if images.images.dtype == np.uint8 else 1.0
        return Normal(mean or (0.0,), std or (1.0,), usual if scale is None else scale), None
    if images.images.dtype != np.uint8:
        return Normal(scale=1.0), _whole_numbers(images)
    if entry is not None and entry.normalisation is not None:
        return Normal(entry.normalisation.mean, entry.normalisation.std), None
    return Normal(), (
        f"{images.name}: how the network wants its images is not known: they go to it as x / 255; "
        "give --mean and --std, or --scale, if it was trained otherwise"
    )


def _whole_numbers(images: ImageSet) -> str | None:
    """A warning where images that should be normalised already look as a camera takes them."""
    low, high = images.images.min(initial=0), images.images.max(initial=0)
    if high <= 1 or (images.images % 1).any():
        return None
    return (
        f"{images.name}: the images are whole numbers from {low:.0f} to {high:.0f} and go to the "
        "network as they are; give --scale, or --mean and --std, if it was trained otherwise"
    )
