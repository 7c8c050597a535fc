"""Loads the models that it is sent, under a memory limit; a process of its own, as it may crash.

Each message on standard input is a length (8 bytes, little-endian) and that many bytes of a model;
the answer is one line of JSON.
"""

import contextlib
import json
import logging
import resource
import sys
import tempfile
import traceback
from pathlib import Path

import psutil

from mlcnn import graph
from mlcnn.errors import MlcnnError

HEADROOM = 1 << 30  # bytes that loading a model of a few kB may take


def outcome(content: bytes, path: Path) -> dict[str, str]:
    """What became of one model: a network, an error for the user, or a defect of ours."""
    path.write_bytes(content)
    try:
        model = graph.load_file(path)
        graph.check(model)
        graph.save(model, path.with_name("saved.onnx"))
    except MlcnnError as error:
        return {"outcome": "refused", "detail": str(error)}
    except BaseException:  # noqa: BLE001 - whatever else comes out is what the test is for
        return {"outcome": "defect", "detail": traceback.format_exc()}
    return {"outcome": "loaded", "detail": ""}


def main() -> None:
    logging.disable()
    limit = psutil.Process().memory_info().vms + HEADROOM
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    source = sys.stdin.buffer
    with tempfile.TemporaryDirectory() as folder:
        while header := source.read(8):
            content = source.read(int.from_bytes(header, "little"))
            with contextlib.redirect_stdout(sys.stderr):
                result = outcome(content, Path(folder) / "model.onnx")
            print(json.dumps(result), flush=True)  # noqa: T201 - the answer


if __name__ == "__main__":
    main()
