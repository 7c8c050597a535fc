"""Data sets in their standard formats, written here byte by byte."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from mlcnn.errors import InputError
from mlcnn.training import ImageSet, load_dataset

RECORD = 3073


def sparse(path: Path, size: int, *pieces: tuple[int, bytes]) -> None:
    """A file of zeros but for some pieces; it takes no space on the disk."""
    with path.open("wb") as file:
        file.truncate(size)
        for offset, content in pieces:
            file.seek(offset)
            file.write(content)


@pytest.fixture
def cifar10(tmp_path):
    """The last record of the test file, and the first of the fourth training file, are not 0."""
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    planes = bytes([1]) * 1024 + bytes([2]) * 1024 + bytes(range(256)) * 4
    size = 10_000 * RECORD
    sparse(folder / "test_batch.bin", size, (size - RECORD, bytes([9]) + planes))
    for i in range(1, 6):
        pieces = [(0, bytes([7]) + planes)] if i == 4 else []
        sparse(folder / f"data_batch_{i}.bin", size, *pieces)
    return tmp_path


def test_cifar10_test(cifar10):
    images = load_dataset("cifar10", cifar10, "test")
    assert images.images.shape == (10_000, 3, 32, 32)
    assert images.images.dtype == np.uint8
    assert (images.labels[-1], images.labels[:-1].max(), images.classes) == (9, 0, 10)
    last = images.images[-1]
    assert (last[0] == 1).all()
    assert (last[1] == 2).all()
    # Row by row: a row of the blue plane holds 32 consecutive bytes.
    assert last[2, 1].tolist() == list(range(32, 64))
    assert len(images) == 10_000
    assert len(images.first(3)) == 3


def test_cifar10_train_is_five_files_in_order(cifar10):
    images = load_dataset("cifar10", cifar10 / "cifar-10-batches-bin", "train")
    assert len(images) == 50_000
    assert np.flatnonzero(images.labels).tolist() == [30_000]


@pytest.mark.parametrize(("name", "label"), [("cifar100", 77), ("cifar100-coarse", 13)])
def test_cifar100_has_two_labels(tmp_path, name, label):
    sparse(tmp_path / "test.bin", 10_000 * 3074, (3 * 3074, bytes([13, 77, 5])))
    images = load_dataset(name, tmp_path, "test")
    assert images.labels[3] == label
    assert images.images[3, 0, 0, 0] == 5
    assert images.classes == (100 if name == "cifar100" else 20)


def idx(*sizes: int, content: bytes) -> bytes:
    return struct.pack(f">{len(sizes) + 1}I", 0x800 + len(sizes), *sizes) + content


@pytest.mark.parametrize("compressed", [False, True])
def test_mnist(tmp_path, compressed):
    files = {
        "t10k-images-idx3-ubyte": idx(2, 3, 4, content=bytes(range(24))),
        "t10k-labels-idx1-ubyte": idx(2, content=bytes([4, 9])),
    }
    for name, content in files.items():
        if compressed:
            (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (tmp_path / name).write_bytes(content)
    images = load_dataset("mnist", tmp_path, "test")
    assert images.images.shape == (2, 1, 3, 4)
    assert images.images[1, 0, 2].tolist() == [20, 21, 22, 23]
    assert images.labels.tolist() == [4, 9]


def test_a_truncated_file_is_refused(cifar10):
    path = cifar10 / "cifar-10-batches-bin" / "test_batch.bin"
    sparse(path, 9_999 * RECORD)
    with pytest.raises(InputError) as caught:
        load_dataset("cifar10", cifar10, "test")
    assert str(caught.value) == (
        f"{path}: has 30,726,927 bytes, cifar10 has 30,730,000 (10,000 records of 3073); "
        "the file is truncated or another"
    )


def test_a_label_out_of_range_is_refused(cifar10):
    path = cifar10 / "cifar-10-batches-bin" / "test_batch.bin"
    sparse(path, 10_000 * RECORD, (RECORD, bytes([10])))
    with pytest.raises(InputError, match=r"labels must lie in 0\.\.9, found 0\.\.10"):
        load_dataset("cifar10", cifar10, "test")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"data_batch_1\.bin: no such file \(nor data_"):
        load_dataset("cifar10", tmp_path, "train")
    with pytest.raises(InputError, match="nowhere: no such folder"):
        load_dataset("cifar10", tmp_path / "nowhere", "train")


def test_unknown_names_are_refused(tmp_path):
    with pytest.raises(InputError, match="'stl10' is not known; use one of cifar10, cifar100"):
        load_dataset("stl10", tmp_path, "train")
    with pytest.raises(InputError, match="split 'validation' does not exist"):
        load_dataset("cifar10", tmp_path, "validation")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "starts with 0x00000000, an idx file of this kind with 0x00000803"),
        (idx(2, content=b"12"), "starts with 0x00000801"),
        (idx(2, 2, 2, content=b"1234567"), "announces 2 x 2 x 2 bytes, it has 7"),
    ],
)
def test_damaged_idx_files_are_refused(tmp_path, content, message):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_dataset("mnist", tmp_path, "train")


def test_damaged_compression_is_refused(tmp_path):
    content = gzip.compress(idx(2, 2, 2, content=b"12345678"))
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(content[:-9])
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte\.gz: cannot be read"):
        load_dataset("mnist", tmp_path, "train")


def test_counts_that_differ_are_refused(tmp_path):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(2, 1, 1, content=b"12"))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(1, content=b"1"))
    with pytest.raises(InputError, match="one label each"):
        load_dataset("mnist", tmp_path, "train")


def test_normalisation():
    pixels = np.array([0, 51, 255], np.uint8).reshape(1, 3, 1, 1)
    images = ImageSet("three", pixels, np.zeros(1, np.int64), 1)
    result = images.normalised((0.5, 0.1, 0.25), (0.5, 0.2, 0.25))
    assert result.dtype == np.float32
    np.testing.assert_allclose(result.reshape(-1), [-1, 0.5, 3], atol=1e-6)
    with pytest.raises(InputError, match="images have 3 channels"):
        images.normalised((0.5, 0.5), (0.5, 0.5))


def test_the_last_images_are_held_out():
    labels = np.arange(5, dtype=np.int64)
    images = ImageSet("five", np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1), labels, 5)
    kept, held_out = images.split(2)
    assert (kept.labels.tolist(), held_out.labels.tolist()) == ([0, 1, 2], [3, 4])
    assert (kept.images.ravel().tolist(), held_out.images.ravel().tolist()) == ([0, 1, 2], [3, 4])
    assert held_out.name == "five, last 2"
    for count in (0, 5):
        with pytest.raises(InputError, match=f"five: {count} of its 5 images cannot be held out"):
            images.split(count)
