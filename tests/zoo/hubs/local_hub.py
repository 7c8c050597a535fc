"""A hub on this machine, and a network for it."""

import json
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

COMMIT = "0123456789abcdef0123456789abcdef01234567"


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
