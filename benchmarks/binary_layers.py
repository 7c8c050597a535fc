"""Binary layers in native, over Larq Compute Engine on the same processor.

Larq Compute Engine 0.16 has kernels for ARM; on x86-64 it runs its reference ones. It needs an
environment of its own:

    python3.11 -m venv larq
    larq/bin/pip install tensorflow-cpu==2.15.1 larq==0.13.3 larq-compute-engine==0.16.0
    python -m benchmarks.binary_layers --python larq/bin/python

Both compute four 3x3 layers of 1-bit weights and inputs, one image, one thread, processor time, in
turns. Larq's inputs are +1 and -1, padded with +1; native's are 0 and 1, which zeros pad exactly.
"""

import argparse
import subprocess
import time
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.bitwise import chain
from mlcnn.engines.native import Native
from mlcnn.engines.processor import named

__all__ = ["main"]

_DEPTH = 4
_ENGINE = Path(__file__).with_name("binary_layers_larq.py")


def _theirs(python: Path, channels: int, size: int, runs: int) -> float:
    numbers = map(str, (channels, size, _DEPTH, runs))
    told = subprocess.run(  # noqa: S603 - the user's own interpreter
        [python, _ENGINE, *numbers], check=True, capture_output=True, text=True
    ).stdout
    return median(map(float, told.split()[-runs:]))


def _ours(channels: int, size: int, seconds: float) -> float:
    x = np.random.default_rng(0).uniform(0, 1, (1, channels, size, size)).astype(np.float32)
    run = Native().prepare(chain(channels, size, (1, 1))).runner({"x": x})
    run()
    found, until = list[float](), time.monotonic() + seconds
    while time.monotonic() < until:
        start = time.process_time_ns()
        run()
        found.append((time.process_time_ns() - start) / 1e6)
    return median(found)


def main() -> None:
    """Print how many times as fast native is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", type=Path, required=True, help="of Larq's environment")
    parser.add_argument("--layers", nargs="*", default=["64@56", "128@28", "256@14", "512@7"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=5, help="of Larq's engine, each round")
    given = parser.parse_args()
    print(named())
    for layer in given.layers:
        channels, size = map(int, layer.split("@"))
        pairs = [
            (_theirs(given.python, channels, size, given.runs), _ours(channels, size, 1.0))
            for _ in range(given.rounds)
        ]
        ratios = sorted(theirs / ours for theirs, ours in pairs)
        theirs, ours = (median(side) for side in zip(*pairs, strict=True))
        print(
            f"{layer}: Larq {theirs:.2f} ms, native W1A1 {ours:.3f} ms: {median(ratios):.1f} times "
            f"({ratios[0]:.1f} to {ratios[-1]:.1f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
