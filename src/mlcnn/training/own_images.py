"""A user's own images: class folders of image files, ``.npz`` arrays, or a torch data set."""

import importlib
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from mlcnn.errors import InputError
from mlcnn.graph import find_callable
from mlcnn.graph.memory import require_memory
from mlcnn.training.images import ImageSet

__all__ = ["Size", "class_folders", "from_arrays", "from_callable", "read_arrays", "read_folder"]

Size = tuple[int, int]
"""Height and width, in pixels."""

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff"})
_REMEDY = (
    "give package.module:callable, where the callable returns a torch data set of pairs (image, "
    "label), or a pair of them, to train and to test on"
)


def class_folders(folder: Path) -> tuple[str, ...]:
    """The names of the folders with images in a folder, sorted: the classes, counted from 0."""
    return tuple(sorted(f.name for f in folder.iterdir() if f.is_dir() and _images(f)))


def _images(folder: Path) -> list[Path]:
    return sorted(f for f in folder.rglob("*") if f.suffix.lower() in _SUFFIXES and f.is_file())


def read_folder(folder: Path, classes: Sequence[str], resize: Size | None = None) -> ImageSet:
    """Images in class folders, all of one size.

    Args:
        folder: holds a folder for each class.
        classes: the names of the classes, in the order of their labels.
        resize: to this size, bilinearly; None requires that all have one size.

    Returns:
        Bytes, with one channel if every image is grey, else three.

    Raises:
        InputError: an image cannot be read or has another size, a class has no images, or one is
            not among ``classes``.
    """
    unknown = [name for name in class_folders(folder) if name not in classes]
    if unknown:
        raise InputError(
            f"{folder / unknown[0]}: no class of this name is trained on; the classes are "
            f"{', '.join(classes)}"
        )
    files = [(file, label) for label, name in enumerate(classes) for file in _of(folder / name)]
    if not files:
        raise InputError(f"{folder}: no images; PNG, JPEG and the like in class folders are needed")
    modes_and_sizes = [_header(file) for file, _ in files]
    grey = all(mode in {"1", "L"} for mode, _ in modes_and_sizes)
    height, width = resize or _common_size([f for f, _ in files], [s for _, s in modes_and_sizes])
    shape = (len(files), 1 if grey else 3, height, width)
    require_memory(int(np.prod(shape)), f"{folder}: its images", "give fewer or smaller ones")
    images = np.empty(shape, np.uint8)
    for index, (file, _) in enumerate(files):
        images[index] = _pixels(file, "L" if grey else "RGB", (width, height))
    labels = np.array([label for _, label in files], np.int64)
    return ImageSet(str(folder), images, labels, len(classes))


def _of(folder: Path) -> list[Path]:
    found = _images(folder) if folder.is_dir() else []
    if not found:
        raise InputError(f"{folder}: no images of this class; add some, or remove the class")
    return found


def _pillow() -> Any:
    try:
        return importlib.import_module("PIL.Image")
    except ImportError as error:
        raise InputError("reading image files needs Pillow: pip install 'mlcnn[data]'") from error


def _unreadable(file: Path, error: Exception) -> InputError:
    return InputError(f"{file}: not a readable image ({error}); repair or remove it")


def _header(file: Path) -> tuple[str, Size]:
    """Mode, and (height, width)."""
    image_class = _pillow()
    try:
        with image_class.open(file) as image:
            return image.mode, (image.height, image.width)
    except Exception as error:
        raise _unreadable(file, error) from error


def _common_size(files: Sequence[Path], sizes: Sequence[Size]) -> Size:
    for file, size in zip(files, sizes, strict=True):
        if size != sizes[0]:
            raise InputError(
                f"{file}: is {size[0]}x{size[1]}, {files[0].name} is {sizes[0][0]}x{sizes[0][1]}; "
                "bring all to one size, or ask for it with --resize HEIGHTxWIDTH"
            )
    return sizes[0]


def _pixels(file: Path, mode: str, size: Size) -> NDArray[np.uint8]:
    """Shape (channels, height, width); ``size`` is (width, height), as Pillow has it."""
    image_class = _pillow()
    try:
        with image_class.open(file) as image:
            plain = image.convert(mode)
            resized = plain if plain.size == size else plain.resize(size, image_class.BILINEAR)
            pixels = np.asarray(resized, np.uint8)
    except Exception as error:
        raise _unreadable(file, error) from error
    return pixels[None] if mode == "L" else pixels.transpose(2, 0, 1)


def read_arrays(path: Path) -> tuple[ImageSet, ImageSet | None]:
    """The images of an ``.npz`` file, and its test images if it has some of its own.

    Args:
        path: arrays ``images`` (images, channels, height, width) and ``labels``, and perhaps
            ``test_images`` and ``test_labels``.

    Raises:
        InputError: it cannot be read, or the arrays are no labelled images.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            names = file.files if isinstance(file, np.lib.npyio.NpzFile) else []
            arrays = {name: file[name] for name in names}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not an .npz file of plain arrays ({error})") from error
    missing = [name for name in ("images", "labels") if name not in arrays]
    if missing:
        raise InputError(
            f"{path}: has no array {missing[0]!r}; required are 'images' and 'labels', the class "
            "of each image"
        )
    images = from_arrays(str(path), arrays["images"], arrays["labels"])
    if "test_images" not in arrays or "test_labels" not in arrays:
        return images, None
    return images, from_arrays(f"{path}, test", arrays["test_images"], arrays["test_labels"])


def from_arrays(name: str, images: NDArray[Any], labels: NDArray[Any]) -> ImageSet:
    """Arrays as images: bytes stay bytes, every other type of number becomes float32.

    Raises:
        InputError: the labels are not one integer of at least 0 for each image.
    """
    if labels.ndim != 1 or len(images) != len(labels) or labels.dtype.kind not in "iu":
        raise InputError(
            f"{name}: labels must be one integer for each of {len(images)} images, got "
            f"{labels.dtype} of shape {labels.shape}"
        )
    if images.dtype.kind not in "biuf":
        raise InputError(f"{name}: images are {images.dtype}; numbers are required")
    if images.dtype != np.uint8:
        images = images.astype(np.float32)
        if not np.isfinite(images).all():
            raise InputError(f"{name}: an image has values that are not finite; remove it")
    if len(labels) and labels.min() < 0:
        raise InputError(f"{name}: label {labels.min()}; labels count from 0")
    whole = labels.astype(np.int64)
    return ImageSet(name, images, whole, int(whole.max(initial=0)) + 1)


def from_callable(target: str) -> tuple[ImageSet, ImageSet | None]:
    """The images of the torch data set that ``package.module:callable`` returns.

    Args:
        target: it takes no arguments and returns a data set with a length, whose items are pairs
            of an image (a tensor or array (channels, height, width), or a Pillow image) and a
            label; or a pair of such data sets, to train and to test on.

    Raises:
        InputError: it fails, or returns something else.
    """
    made: object = find_callable(target, _REMEDY)()
    if isinstance(made, tuple) and len(made) == 2:
        first, second = cast("tuple[Any, Any]", made)
        return _collected(target, first), _collected(f"{target}, test", second)
    return _collected(target, made), None


def _collected(name: str, given: Any) -> ImageSet:
    try:
        items = [given[index] for index in range(len(given))]
        images = [_as_array(item[0]) for item in items]
        labels = np.array([int(item[1]) for item in items], np.int64)
    except Exception as error:  # a user's data set may do anything
        raise InputError(f"{name}: {type(error).__name__}: {error}; {_REMEDY}") from error
    shapes = sorted({image.shape for image in images})
    if len(shapes) != 1 or len(shapes[0]) != 3:
        raise InputError(
            f"{name}: its images have the shapes {', '.join(map(str, shapes[:3])) or 'of none'}; "
            "one shape (channels, height, width) for all is required"
        )
    return from_arrays(name, np.stack(images), labels)


def _as_array(image: Any) -> NDArray[Any]:
    if hasattr(image, "getbands"):  # a Pillow image: height, width and perhaps channels
        pixels = np.asarray(image)
        return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    return np.asarray(image)
