"""What ``pip install mlcnn`` without extras brings along, and what of it weighs.

Reads the packages that are installed here, bytecode left out:

    python -m benchmarks.installed
"""

import argparse
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

__all__ = ["closure", "main"]

_MB = 1e6


def closure(name: str) -> dict[str, Distribution]:
    """A package and all that it requires, without extras, by name.

    Raises:
        PackageNotFoundError: it is not installed itself.
    """
    found = {canonicalize_name(name): distribution(name)}
    waiting = list(found.values())
    while waiting:
        for text in waiting.pop().requires or ():
            needed = Requirement(text)
            key = canonicalize_name(needed.name)
            if key in found or not (needed.marker is None or needed.marker.evaluate({"extra": ""})):
                continue
            try:
                found[key] = distribution(key)
            except PackageNotFoundError:  # of another platform's kind, or left out by hand
                continue
            waiting.append(found[key])
    return found


def _bytes(package: Distribution) -> int:
    paths = (file.locate() for file in package.files or () if file.suffix != ".pyc")
    return sum(path.stat().st_size for path in paths if path.is_file())


def main() -> None:
    """Print the packages, the largest first, and the sum."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--least", type=float, default=5.0, help="MB from which one is listed")
    least = parser.parse_args().least
    sizes = {name: _bytes(package) / _MB for name, package in closure("mlcnn").items()}
    for name, size in sorted(sizes.items(), key=lambda item: -item[1]):
        if size >= least:
            print(f"{name:24}{size:8.0f} MB")
    print(f"{len(sizes)} packages{sum(sizes.values()):14.0f} MB")


if __name__ == "__main__":
    main()
