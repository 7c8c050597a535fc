"""The packages that networks come from, and a hub on this machine."""

import sys
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from zoo.hubs.local_hub import Hub, handler

PACKAGES = Path(sys.prefix) / "hubs"
"""Where `make setup` puts timm and torchvision, away from what would import them unasked."""


@pytest.fixture(scope="session")
def packages() -> Iterator[None]:
    """With timm and torchvision."""
    if not PACKAGES.is_dir():
        pytest.skip("`make setup` installs timm and torchvision")
    sys.path.append(str(PACKAGES))
    yield
    sys.path.remove(str(PACKAGES))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache for the hub's library."""
    pytest.importorskip("huggingface_hub")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    return tmp_path / "cache"


def use(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """Let the hub's library ask a server; it reads its settings when it is imported."""
    constants = "huggingface_hub.constants"
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(f"{constants}.ENDPOINT", endpoint)
    monkeypatch.setattr(f"{constants}.HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture
def hub(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that is reached, and an empty cache."""
    found = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(found))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    use(monkeypatch, f"http://127.0.0.1:{server.server_port}")
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def no_hub(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub that is not reached, at a port where nobody listens; the cache."""
    use(monkeypatch, "http://127.0.0.1:9")
    return cache
