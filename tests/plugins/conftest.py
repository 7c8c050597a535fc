"""Packages from outside, found by their entry points like installed ones."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlcnn.ops import registry
from mlcnn.passes import language

PLUGINS = Path(__file__).parents[2] / "examples" / "plugins"
"""The packages that docs/extending.md shows."""


def forget() -> None:
    """Let the registries look for plug-ins again."""
    registry.methods.cache_clear()
    language._registry.cache_clear()


class AddPackage:
    """Puts a package and what its ``pyproject.toml`` says of it where Python looks."""

    def __init__(self, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.site, self.monkeypatch = site, monkeypatch
        self.paths: list[str] = []

    def __call__(self, name: str) -> Path:
        folder = PLUGINS / name
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        about = self.site / f"{name}-{project['version']}.dist-info"
        about.mkdir(parents=True)
        head = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        (about / "METADATA").write_text(head)
        lines = [
            f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in entries.items())
            for group, entries in project["entry-points"].items()
        ]
        (about / "entry_points.txt").write_text("\n".join(lines))
        for path in (self.site, folder):
            self.monkeypatch.syspath_prepend(str(path))
            self.paths.append(str(path))
        forget()
        return folder


@pytest.fixture
def add_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AddPackage]:
    """Adds a package of ``examples/plugins`` for one test."""
    yield AddPackage(tmp_path / "site", monkeypatch)
    monkeypatch.undo()
    forget()


@pytest.fixture
def paired(add_package: AddPackage) -> list[str]:
    """With the package ``paired_filters`` installed: where it lies."""
    add_package("paired_filters")
    return add_package.paths
