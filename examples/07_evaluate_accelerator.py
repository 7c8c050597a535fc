"""Evaluate a network on an accelerator, and on one of your own with half the DRAM bandwidth."""

import importlib.resources
from pathlib import Path

import mlcnn
from mlcnn.accelerators import Evaluation

LIBRARY = importlib.resources.files("mlcnn.accelerators") / "library"


def half_bandwidth(path: Path) -> Path:
    """A copy of ``mlcnn-fp32`` with 32 instead of 64 bytes of DRAM a cycle."""
    text = (LIBRARY / "mlcnn-fp32.yaml").read_text()
    changes = {"name: mlcnn-fp32": "name: half", "bytes_per_cycle: 64": "bytes_per_cycle: 32"}
    for old, new in changes.items():
        text = text.replace(old, new)
    path.write_text(text)
    return path


def show(found: Evaluation) -> None:
    print(f"{found.accelerator.name} against {found.against.name}, {found.technology.name}")
    for row in found.layers:
        print(
            f"  {row.name:6} {row.cost.cycles:8,.0f} cycles, bound by {row.cost.bound}, "
            f"{row.cost.energy.total / 1e6:.2f} uJ, speed-up {row.speedup:.2f}"
        )
    if found.fused is not None:
        print(
            f"  fused layers {found.fused.speedup:.2f} in the mean, "
            f"whole network {found.network.total_speedup:.2f}"
        )


def main() -> None:
    model = mlcnn.load("lenet5")
    rewriting = mlcnn.RewriteOptions(passes="mlcnn")
    for machine in ("mlcnn-fp32", half_bandwidth(Path("half.yaml"))):
        show(mlcnn.evaluate(model, rewriting, on=machine, against="dcnn-fp32", batch=16))


if __name__ == "__main__":
    main()
