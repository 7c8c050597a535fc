"""What made a result: where it was computed, by which source, and how a network was trained."""

import json
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import torch

import mlcnn
from mlcnn.engines.processor import named
from mlcnn.training import Hardware, Normal, Processes

if TYPE_CHECKING:
    from mlcnn.api.training import TrainOptions

__all__ = ["training_record", "where", "write_result"]

_LIBRARIES = ("numpy", "onnx", "onnx-ir")


def where(hardware: Hardware) -> dict[str, object]:
    """The device and its name, threads, versions, and the commit of the source; None if unknown.

    Args:
        hardware: what was computed on.
    """
    on_gpu = torch.device(hardware.device).type == "cuda"
    return {
        "device": hardware.device,
        "processor": torch.cuda.get_device_name(hardware.device) if on_gpu else named(),
        "threads": torch.get_num_threads(),
        "mlcnn": mlcnn.__version__,
        "commit": _commit(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in _LIBRARIES},
    }


def training_record(
    options: "TrainOptions", normal: Normal, processes: Processes
) -> dict[str, object]:
    """How a network was trained, and what with.

    Args:
        options: how to train.
        normal: what the network takes for an image.
        processes: which shared each batch.
    """
    return {
        "recipe": asdict(options.recipe),
        "seed": options.seed,
        "limit": options.limit,
        "hardware": asdict(options.hardware),
        "processes": processes.size,
        "normalisation": asdict(normal),
        "where": where(options.hardware),
    }


def write_result(folder: Path, record: Mapping[str, object]) -> None:
    """Write ``result.json``, whole or not at all.

    Args:
        folder: where; it exists.
        record: what it holds.
    """
    partial = folder / ".result.json.partial"
    partial.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    partial.replace(folder / "result.json")


def _commit() -> str | None:
    """The commit of the package's source, where it is run from a repository that holds it."""
    package = Path(mlcnn.__file__)
    # An environment may lie within the repository of another project: that one's commit says
    # nothing, and it does not know the file.
    command = ["git", "-C", str(package.parent), "rev-parse", "HEAD", f"HEAD:./{package.name}"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603 - no shell
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.split()[0] if found.returncode == 0 else None
