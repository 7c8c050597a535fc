"""Public data sets by name, downloaded once into the user's cache."""

import importlib
from pathlib import Path

from mlcnn.errors import InputError

__all__ = ["DOWNLOADS", "download"]

_TORONTO = "https://www.cs.toronto.edu/~kriz"
_MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist"
_STANFORD = "http://ufldl.stanford.edu/housenumbers"

DOWNLOADS = {
    "cifar10": ((f"{_TORONTO}/cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530"),),
    "cifar100": ((f"{_TORONTO}/cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8"),),
    "mnist": (
        (f"{_MNIST}/train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        (f"{_MNIST}/train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432"),
        (f"{_MNIST}/t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3"),
        (f"{_MNIST}/t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c"),
    ),
    "svhn": (
        (f"{_STANFORD}/train_32x32.mat", "e26dedcc434d2e4c54c9b2d4a06d8373"),
        (f"{_STANFORD}/test_32x32.mat", "eb5a983be6a315427106f1b164d9cef3"),
    ),
}
"""By name of the data set: its files' addresses and their MD5 sums."""


def download(name: str) -> Path:
    """The archive, or the folder with the files, of a public data set.

    Args:
        name: one of ``DOWNLOADS``.

    Raises:
        InputError: pooch is not installed, or there is no network.
    """
    try:
        pooch = importlib.import_module("pooch")
    except ImportError as error:
        raise InputError(
            f"--data {name}: downloading it needs pooch: pip install 'mlcnn[data]'; or give the "
            "folder where you have it"
        ) from error
    cache = Path(pooch.os_cache("mlcnn")) / name
    try:
        found = [
            Path(pooch.retrieve(url, f"md5:{md5}", fname=url.rpartition("/")[2], path=cache))
            for url, md5 in DOWNLOADS[name]
        ]
    except Exception as error:  # no network raises whatever its client raises
        raise InputError(
            f"--data {name}: cannot be downloaded ({error}); give the folder where you have it"
        ) from error
    return found[0] if len(found) == 1 else cache
