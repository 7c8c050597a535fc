"""Packages from outside, found by their entry points like installed ones."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlcnn.ops import registry
from mlcnn.passes import language

HERE = Path(__file__).parent


def forget() -> None:
    """Let the registries look for plug-ins again."""
    registry.methods.cache_clear()
    language._registry.cache_clear()


@pytest.fixture
def paired(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """With the package ``paired_filters`` installed."""
    monkeypatch.syspath_prepend(str(HERE / "paired_filters"))
    forget()
    yield
    forget()
