"""Time and memory of the passes and checks themselves, loading and export excluded.

Per network a fresh process loads the model file, then runs the pipeline ``mlcnn`` with its checks.
Memory is the peak resident size above that of the loaded original, in multiples of its weights.
"""

import gc
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import fresh
from benchmarks.results import arguments, show, write
from mlcnn import engines, zoo
from mlcnn.api.optimizing import rewrite
from mlcnn.graph import load_file, save

__all__ = ["main"]

NETWORKS = ("vgg16", "densenet121", "vgg16-224")


def _status(key: str) -> int:
    """A size of this process from the Linux kernel, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    line = next(line for line in lines if line.startswith(f"{key}:"))
    return int(line.split()[1]) * 1024


def export(network: str, path: str) -> None:
    """In a fresh process: write a network of the zoo to a file."""
    save(zoo.load(network), path)


def optimize(path: str, measured: bool) -> dict[str, Any]:
    """In a fresh process: seconds and bytes of the pipeline on a loaded file."""
    model = load_file(Path(path))
    weights = engines.weight_bytes(model)
    gc.collect()
    # Restarts the high-water mark, which loading has raised.
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before, start = _status("VmRSS"), time.perf_counter()
    chooser = engines.MeasuredChooser(network_bytes=weights) if measured else None
    result = rewrite(model, "mlcnn", chooser=chooser)
    seconds = time.perf_counter() - start
    return {
        "seconds": seconds,
        "peak_bytes": _status("VmHWM") - before,
        "weight_bytes": weights,
        "fused": len(result.fused),
        "max_error": result.max_error,
    }


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__, "rewriting")
    parser.add_argument("networks", nargs="*", metavar="NETWORK", default=list(NETWORKS))
    options = parser.parse_args()
    rows: list[list[str]] = []
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for network in options.networks:
            path = str(Path(folder) / f"{network}.onnx")
            fresh.call("benchmarks.rewriting:export", network=network, path=path)
            for measured in (False, True):
                result = fresh.call("benchmarks.rewriting:optimize", path=path, measured=measured)
                chooser = "measured" if measured else "estimated"
                found.append({"network": network, "chooser": chooser, **result})
                rows.append(
                    [
                        f"{network}, forms {chooser}",
                        f"{result['seconds']:.1f}",
                        f"{result['peak_bytes'] / 2**20:.0f}",
                        f"{result['peak_bytes'] / result['weight_bytes']:.2f}",
                        f"{result['fused']}",
                    ]
                )
    columns = ["network", "seconds", "peak MiB above loaded", "in weights", "fused sites"]
    show("passes and checks", columns, rows)
    write(options, {"results": found})
    print(f"results: {options.out}")


if __name__ == "__main__":
    main()
