"""The packages that networks come from, and a hub on this machine."""

import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

COMMIT = "0123456789abcdef0123456789abcdef01234567"
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


@dataclass
class Hub:
    """Repositories that a server on this machine has.

    Attributes:
        repositories: the files of each by path.
        refused: the status and the code of the error for a repository.
        asked: the paths of all requests.
    """

    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refused: dict[str, tuple[int, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and content: what the hub's library asks for."""
        self.asked.append(path)
        parts = path.partition("?")[0].strip("/").split("/")
        is_api = parts[:2] == ["api", "models"]
        parts = parts[2:] if is_api else parts
        name = "/".join(parts[:2])
        if name in self.refused:
            status, code = self.refused[name]
            return status, {"X-Error-Code": code}, b"{}"
        if name not in self.repositories:
            return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"
        files = self.repositories[name]
        revision = parts[3] if len(parts) > 3 else "main"
        if revision not in {"main", "v1", COMMIT}:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        if is_api:
            siblings = [{"rfilename": file} for file in files]
            found = {"id": name, "modelId": name, "sha": COMMIT, "siblings": siblings}
            return 200, {}, json.dumps(found).encode()
        file = "/".join(parts[4:])
        if file not in files:
            return 404, {"X-Error-Code": "EntryNotFound"}, b""
        return 200, {"X-Repo-Commit": COMMIT, "ETag": f'"{hash(files[file])}"'}, files[file]


def handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def respond(self, *, with_content: bool) -> None:
            status, headers, content = hub.answer(self.path)
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(key, value)
            self.end_headers()
            if with_content:
                self.wfile.write(content)

        def do_GET(self) -> None:
            self.respond(with_content=True)

        def do_HEAD(self) -> None:
            self.respond(with_content=False)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    return Handler


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


def network(*, outside: str = "") -> bytes:
    """An ONNX file: a convolution from (N, 3, 8, 8), its weight perhaps in a file of its own."""
    weight = numpy_helper.from_array(np.arange(108, dtype=np.float32).reshape(4, 3, 3, 3), "w")
    if outside:
        weight = TensorProto(name="w", dims=[4, 3, 3, 3], data_type=TensorProto.FLOAT)
        weight.data_location = TensorProto.EXTERNAL
        weight.external_data.add(key="location", value=outside)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], name="conv")],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [weight],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return proto.SerializeToString()


def first_weight(model: Any) -> np.ndarray:
    """The weight of the network's one convolution."""
    (value,) = model.graph.initializers.values()
    return value.const_value.numpy()
