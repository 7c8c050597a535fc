"""Image data sets in the formats that their authors publish, as folders or archives.

CIFAR-10 and -100 in the binary and the Python version [Krizhevsky 2009], MNIST's idx files (each
optionally with ``.gz`` behind its name), and SVHN's ``.mat`` files with cropped digits.
"""

import gzip
import importlib
import io
import pickle
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mlcnn.errors import InputError
from mlcnn.training.images import ImageSet

__all__ = [
    "DATASETS",
    "Files",
    "Split",
    "load_dataset",
    "open_files",
    "read_standard",
    "read_svhn",
    "recognise",
]

Split = Literal["train", "test"]

_PIXELS = 3 * 32 * 32
_DAMAGED = (OSError, EOFError, zlib.error, tarfile.TarError)


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a folder (and of the folders in it), or of an archive, by their last names.

    Attributes:
        where: the folder or archive, for messages.
        entries: by file name: a path, or the content.
    """

    where: Path
    entries: Mapping[str, "Path | bytes"]

    def find(self, name: str) -> str | None:
        """The name that the file goes by here, compressed or not; None if it is not here."""
        return next((n for n in (name, f"{name}.gz") if n in self.entries), None)

    def path(self, name: str) -> Path:
        """Where the file lies, or would, for messages."""
        entry = self.entries.get(self.find(name) or "")
        return entry if isinstance(entry, Path) else self.where / name

    def read(self, name: str, of: str) -> bytes:
        """Content of a file, decompressed.

        Raises:
            InputError: it is missing or damaged.
        """
        found = self.find(name)
        if found is None:
            raise InputError(
                f"{self.where / name}: no such file (nor {name}.gz); {of} in its standard format "
                "has it"
            )
        entry = self.entries[found]
        try:
            content = entry.read_bytes() if isinstance(entry, Path) else entry
            return gzip.decompress(content) if found.endswith(".gz") else content
        except _DAMAGED as error:
            raise InputError(
                f"{self.path(name)}: cannot be read: {error}; copy or download it again"
            ) from error


def open_files(path: Path) -> Files:
    """The files of a folder or a tar archive.

    Raises:
        InputError: there is no such file, or the archive is damaged.
    """
    if path.is_dir():
        inner = (f for folder in path.iterdir() if folder.is_dir() for f in _plain(folder))
        # What lies in the folder itself goes before what lies in a folder inside it.
        return Files(path, {file.name: file for file in (*inner, *_plain(path))})
    if not path.is_file():
        raise InputError(f"{path}: no such file or folder")
    try:
        with tarfile.open(path) as archive:
            return Files(path, {PurePosixPath(m.name).name: _member(archive, m) for m in archive})
    except _DAMAGED as error:
        raise InputError(
            f"{path}: neither an .npz or .mat file nor a readable tar archive ({error}); if it "
            "is one, it is truncated: download it again, or unpack it and give the folder"
        ) from error


def _plain(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.is_file())


def _member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    return b"" if file is None else file.read()


@dataclass(frozen=True, slots=True)
class _Cifar:
    """Layout of a CIFAR data set [Krizhevsky 2009].

    A record of the binary version is ``label_bytes`` labels, of which number ``label`` is used,
    then 3,072 bytes: the red, green and blue plane of a 32x32 image, row by row. The Python version
    has the files without their suffix, with the labels under ``key``.
    """

    train: tuple[str, ...]
    test: tuple[str, ...]
    records: Mapping[str, int]
    label_bytes: int
    label: int
    key: str
    classes: int

    def files(self, split: Split) -> tuple[str, ...]:
        return self.train if split == "train" else self.test


_CIFAR100_RECORDS = {"train": 50_000, "test": 10_000}
_CIFAR = {
    "cifar10": _Cifar(
        train=tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
        test=("test_batch.bin",),
        records={"train": 10_000, "test": 10_000},
        label_bytes=1,
        label=0,
        key="labels",
        classes=10,
    ),
    "cifar100": _Cifar(
        ("train.bin",), ("test.bin",), _CIFAR100_RECORDS, 2, 1, "fine_labels", 100
    ),
    "cifar100-coarse": _Cifar(
        ("train.bin",), ("test.bin",), _CIFAR100_RECORDS, 2, 0, "coarse_labels", 20
    ),
}  # fmt: skip
_MNIST = {"train": "train", "test": "t10k"}
_SVHN = {"train": "train_32x32.mat", "test": "test_32x32.mat"}

DATASETS: tuple[str, ...] = (*_CIFAR, "mnist", "svhn")
"""Names of the standard data sets."""

# By which files a data set is recognised; one of each group must be there.
_MARKS = {
    "cifar10": (("test_batch.bin",), ("test_batch", "data_batch_1")),
    "cifar100": (("test.bin", "train.bin"), ("test.bin", "fine_label_names.txt"), ("test", "meta")),
    "mnist": (("t10k-labels-idx1-ubyte",), ("train-labels-idx1-ubyte",)),
    "svhn": (("test_32x32.mat",), ("train_32x32.mat",)),
}  # fmt: skip


def recognise(files: Files) -> str | None:
    """The standard data set that the files are, or None."""
    for name, groups in _MARKS.items():
        if any(all(files.find(mark) for mark in marks) for marks in groups):
            return name
    return None


def load_dataset(name: str, directory: Path, split: Split) -> ImageSet:
    """Load a data set of a known kind.

    Args:
        name: one of ``DATASETS``; ``cifar100-coarse`` has CIFAR-100's 20 coarse labels.
        directory: the folder that holds the files, or the folder above it, or the archive.
        split: ``train`` or ``test``.

    Returns:
        All images of the split, in the order of the files.

    Raises:
        InputError: for an unknown name or split, or a file that is missing, truncated or
            otherwise not what the format requires.
    """
    if split not in ("train", "test"):
        raise InputError(f"split {split!r} does not exist; use 'train' or 'test'")
    if name not in DATASETS:
        raise InputError(f"data set {name!r} is not known; use one of {', '.join(DATASETS)}")
    if not directory.exists():
        raise InputError(f"{directory}: no such folder; give the folder with the files of {name}")
    return read_standard(name, open_files(directory), split)


def read_standard(name: str, files: Files, split: Split) -> ImageSet:
    """The images of one split of a standard data set.

    Args:
        name: one of ``DATASETS``.
        files: where they lie.
        split: ``train`` or ``test``.

    Raises:
        InputError: a file is missing, truncated or otherwise not what the format requires.
    """
    if name == "mnist":
        return _read_mnist(files, split)
    if name == "svhn":
        return read_svhn(files.read(_SVHN[split], name), files.path(_SVHN[split]), f"svhn {split}")
    layout = _CIFAR[name]
    first = layout.files(split)[0]
    read = _read_binary if files.find(first) or not files.find(_stem(first)) else _read_pickled
    parts = [read(name, layout, files, file, split) for file in layout.files(split)]
    images = np.concatenate([images for images, _ in parts]).reshape(-1, 3, 32, 32)
    labels = np.concatenate([labels for _, labels in parts]).astype(np.int64)
    return ImageSet(f"{name} {split}", images, labels, layout.classes)


_Pair = tuple[NDArray[np.uint8], NDArray[Any]]


def _stem(file: str) -> str:
    return file.removesuffix(".bin")


def _read_binary(name: str, layout: _Cifar, files: Files, file: str, split: Split) -> _Pair:
    content = files.read(file, name)
    width = layout.label_bytes + _PIXELS
    expected = layout.records[split] * width
    if len(content) != expected:
        raise InputError(
            f"{files.path(file)}: has {len(content):,} bytes, {name} has {expected:,} "
            f"({layout.records[split]:,} records of {width}); the file is truncated or another"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, width)
    return records[:, layout.label_bytes :], records[:, layout.label]


class _PlainUnpickler(pickle.Unpickler):
    """Reads pickled arrays, numbers and texts; what would run code is refused."""

    _ALLOWED = frozenset({
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("_codecs", "encode"),
    })  # fmt: skip

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """A class that only holds data.

        Raises:
            UnpicklingError: any other.
        """
        if (module_name, global_name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"it would run {module_name}.{global_name}")
        return super().find_class(module_name.replace("numpy.core", "numpy._core"), global_name)


def _read_pickled(name: str, layout: _Cifar, files: Files, file: str, split: Split) -> _Pair:
    where = files.path(_stem(file))
    try:
        content = io.BytesIO(files.read(_stem(file), name))
        batch = _PlainUnpickler(content, encoding="bytes").load()
        images = np.asarray(batch[b"data"], np.uint8)
        labels = np.asarray(batch[layout.key.encode()])
    except (pickle.UnpicklingError, EOFError, ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(
            f"{where}: not a batch of {name} in its Python version ({error}); the file is "
            "truncated or another: download it again"
        ) from error
    expected = (layout.records[split], _PIXELS)
    if images.shape != expected or labels.shape != expected[:1]:
        raise InputError(
            f"{where}: has images of shape {images.shape} and {labels.size} labels, {name} has "
            f"{expected}; the file is another"
        )
    return images, labels


def _read_mnist(files: Files, split: Split) -> ImageSet:
    prefix = _MNIST[split]
    images = _read_idx(files, f"{prefix}-images-idx3-ubyte", dimensions=3)
    labels = _read_idx(files, f"{prefix}-labels-idx1-ubyte", dimensions=1)
    return ImageSet(f"mnist {split}", images[:, None], labels.astype(np.int64), 10)


def _read_idx(files: Files, name: str, dimensions: int) -> NDArray[np.uint8]:
    """An idx file of unsigned bytes: magic number, sizes (big-endian), values."""
    content, path = files.read(name, "mnist"), files.path(name)
    header = 4 * (1 + dimensions)
    magic = 0x0800 + dimensions
    found = int.from_bytes(content[:4], "big")
    if len(content) < header or found != magic:
        raise InputError(
            f"{path}: starts with 0x{found:08x}, an idx file of this kind with 0x{magic:08x}"
        )
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", dimensions, offset=4))
    values = np.frombuffer(content, np.uint8, offset=header)
    if len(values) != np.prod(shape, dtype=np.int64):
        raise InputError(
            f"{path}: its header announces {' x '.join(map(str, shape))} bytes, "
            f"it has {len(values):,}; the file is truncated or damaged"
        )
    return values.reshape(shape)


def read_svhn(content: bytes, path: Path, name: str) -> ImageSet:
    """SVHN's cropped digits [Netzer 2011]: ``X`` (32, 32, 3, images), ``y``, where 10 is digit 0.

    Args:
        content: of the ``.mat`` file.
        path: its name, for messages.
        name: of the images.

    Raises:
        InputError: SciPy is missing, or the file is no such file.
    """
    try:
        loadmat = importlib.import_module("scipy.io").loadmat
    except ImportError as error:
        raise InputError(
            f"{path}: reading .mat files needs SciPy: pip install 'mlcnn[data]'"
        ) from error
    try:
        arrays = loadmat(io.BytesIO(content), variable_names=("X", "y"))
        pixels, digits = np.asarray(arrays["X"]), np.asarray(arrays["y"]).reshape(-1)
    except Exception as error:  # a damaged file may raise anything there
        raise InputError(
            f"{path}: not a .mat file with X and y ({error}); it is truncated or another"
        ) from error
    if pixels.ndim != 4 or pixels.dtype != np.uint8 or pixels.shape[3] != len(digits):
        raise InputError(
            f"{path}: X is {pixels.dtype} of shape {pixels.shape} with {len(digits)} labels; bytes "
            "of shape (height, width, channels, images) are required"
        )
    images = np.ascontiguousarray(pixels.transpose(3, 2, 0, 1))
    return ImageSet(name, images, digits.astype(np.int64) % 10, 10)
