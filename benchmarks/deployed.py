"""Deployed networks: size, speed beside the engine native, sanitizers, and ONNX Runtime.

Each network is written by ``mlcnn.deploy`` and built by each compiler, all of it with ``-Wall
-Wextra -Werror``. Printed are whether the outputs equal those of the engine ``native`` bit for bit,
sizes, the median of the paired ratios of times to native (one thread, interleaved, processor time),
and what the sanitizers say of the example program and of four threads with a context each:

    python -m benchmarks.deployed [lenet5 vgg16 ...] [--seconds 4] [--no-sanitizers]
"""

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np
import onnxruntime

import mlcnn
from mlcnn.engines.native import deploying
from mlcnn.engines.processor import processor
from mlcnn.engines.timing import interleave
from mlcnn.errors import UnsupportedError

__all__ = ["THREADS", "custom_session", "main", "measure", "sanitized", "strict"]

_NETWORKS = ("lenet5", "resnet18-224", "googlenet", "vgg16")
_COMPILERS = ("gcc", "clang")
_STRICT = ("-Wall", "-Wextra", "-Werror")
_SANITIZERS = {
    "address, undefined": ("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    "thread": ("-fsanitize=thread",),
}
_SECONDS = 900

THREADS = """
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "NAME.h"
#define THREADS 4
#define RUNS 3
static float *input;
static void *work(void *result) {
  NAME_context *context;
  const float *inputs[1] = {input};
  float *outputs[1] = {result};
  if (NAME_open(&context, NULL, 1)) return input;
  for (int i = 0; i < RUNS; i++) if (NAME_run(context, inputs, outputs)) return input;
  NAME_close(context);
  return NULL;
}
int main(void) {
  pthread_t threads[THREADS];
  float *results[THREADS];
  void *bad;
  input = malloc(UPPER_INPUT_0_SIZE * sizeof(float));
  for (size_t i = 0; i < UPPER_INPUT_0_SIZE; i++) input[i] = (float)(i % 17) / 17 - 0.5f;
  for (int i = 0; i < THREADS; i++) {
    results[i] = malloc(UPPER_OUTPUT_0_SIZE * sizeof(float));
    if (pthread_create(threads + i, NULL, work, results[i])) return 2;
  }
  for (int i = 0; i < THREADS; i++) if (pthread_join(threads[i], &bad) || bad) return 3;
  for (int i = 1; i < THREADS; i++)
    if (memcmp(results[0], results[i], UPPER_OUTPUT_0_SIZE * sizeof(float))) return 4;
  for (int i = 0; i < THREADS; i++) free(results[i]);
  free(input);
  puts("equal");
  return 0;
}
"""
"""A program that runs a network with one input and one output in four threads."""


def strict(
    compiler: str, folder: Path, name: str, sources: Sequence[Path], program: Path,
    *, march: str = "native", flags: Sequence[str] = (),
) -> Path:  # fmt: skip
    """Compile a program with a deployed network, warnings as errors.

    Raises:
        RuntimeError: the compiler says anything.
    """
    call = [
        compiler, *deploying.build_flags(compiler, march), *_STRICT, *flags, f"-I{folder}",
        f'-DWEIGHTS="{folder / f"{name}_weights.bin"}"', "-o", str(program), *map(str, sources),
        str(folder / f"{name}.c"), str(folder / f"{name}_weights.S"), "-lm", "-pthread",
    ]  # fmt: skip
    done = _run(call)
    if done.returncode or done.stderr:
        raise RuntimeError(f"{compiler}: {done.stderr}")
    return program


def _run(call: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - compilers, and what they made of our sources
        call, capture_output=True, text=True, timeout=_SECONDS, check=False
    )


def sanitized(
    compiler: str, folder: Path, name: str, plan: deploying.Plan, place: Path
) -> dict[str, str]:
    """What each sanitizer says; "clean" where it says nothing and the outputs are right."""
    found = dict[str, str]()
    for kind, flags in _SANITIZERS.items():
        sources = [folder / "main.c"]
        if kind == "thread":
            text = THREADS.replace("NAME", name).replace("UPPER", name.upper())
            sources = [place / "threads.c"]
            sources[0].write_text(text, encoding="utf-8")
        try:
            program = strict(
                compiler,
                folder,
                name,
                sources,
                place / f"sanitized-{kind[0]}",
                flags=(*flags, "-O1", "-g1"),
            )
        except RuntimeError as error:
            found[kind] = f"not built: {str(error).splitlines()[0]}"
            continue
        files = _files(plan, place) if kind != "thread" else []
        done = _run([program, *files])
        clean = not done.returncode and not done.stderr
        if clean and kind != "thread":
            clean = _same(plan, files[len(plan.inputs) :])
        told = done.stderr.splitlines()[:1] or ["other outputs"]
        found[kind] = "clean" if clean else f"code {done.returncode}: {told[0]}"
    return found


def _files(plan: deploying.Plan, place: Path) -> list[Path]:
    """Files for the example program: inputs, which are written here, then outputs."""
    names = [place / f"{index}.bin" for index in range(len(plan.inputs) + len(plan.outputs))]
    given = deploying.handed(plan, deploying.drawn(plan.inputs))
    for path, array in zip(names, given, strict=False):
        path.write_bytes(array.tobytes())
    return names


def _same(plan: deploying.Plan, files: Sequence[Path]) -> bool:
    """Whether what a program wrote is what the engine native computes.

    A sanitized program is compiled with less optimisation, which contracts other products.
    """
    expected = plan.session.run(deploying.drawn(plan.inputs))
    return all(
        np.allclose(np.fromfile(path, np.float32), expected[buffer.name].ravel(), 1e-4, 1e-4)
        for path, buffer in zip(files, plan.outputs, strict=True)
    )


def custom_session(library: Path, network: Path) -> onnxruntime.InferenceSession:
    """A session of ONNX Runtime, of one thread, that runs a deployed network."""
    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(str(library))
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(network), options, providers=["CPUExecutionProvider"])


def measure(
    network: str, place: Path, seconds: float, *, sanitizers: bool = True
) -> dict[str, Any]:
    """All figures of one network."""
    deployed = mlcnn.deploy(
        network,
        place / "c",
        options=mlcnn.DeployOptions(algorithm="auto", chosen=False, check=False),
    )
    plan, name, folder = deployed.plan, deployed.name, place / "c"
    inputs = deploying.drawn(plan.inputs)
    expected = plan.session.run(inputs)
    runners: dict[str, Any] = {"native": plan.session.session.runner(inputs)}
    rows: dict[str, Any] = {}
    for compiler in (each for each in _COMPILERS if shutil.which(each)):
        into = place / compiler
        into.mkdir()
        started = time.process_time() + _children()
        built = deploying.build(
            folder, name, "native", into=into, compiler=(compiler,), flags=_STRICT,
            sources=(f"{name}_onnxruntime.c",),
        )  # fmt: skip
        took = time.process_time() + _children() - started
        loaded = deploying.Loaded(built.path, name, plan.outputs)
        run, results = loaded.runner(deploying.handed(plan, inputs))
        session = custom_session(built.path, folder / f"{name}_onnxruntime.onnx")
        binding = _bound(session, inputs)
        session.run_with_iobinding(binding)
        run()
        rows[compiler] = {
            "binary_bytes": built.binary_bytes, "code_bytes": built.code_bytes,
            "compile_s": took,
            "equal": all(
                np.array_equal(expected[b.name].view(np.int32), found.view(np.int32))
                for b, found in zip(plan.outputs, results, strict=True)
            ),
            "onnxruntime_equal": all(
                np.array_equal(expected[b.name], found)
                for b, found in zip(plan.outputs, binding.copy_outputs_to_cpu(), strict=True)
            ),
        }  # fmt: skip
        runners[compiler] = run
        runners[f"{compiler}, onnxruntime"] = _runner(session, binding)
    timings = interleave(runners, budget_s=seconds, clock=time.process_time_ns)
    samples = {key: list(timing.samples_ms) for key, timing in timings.items()}
    for compiler, row in rows.items():
        first = sanitizers and compiler == next(
            iter(rows)
        )  # another compiler's sanitizers look for the same
        told = sanitized(compiler, folder, name, plan, place / compiler) if first else {}
        row["sanitizers"] = told
    return {
        "network": network, "native_ms": _spread(samples["native"]),
        "weights_bytes": plan.constants.nbytes, "context_bytes": plan.context_bytes,
        "compilers": rows,
        "ratios": {
            key: _spread([a / b for a, b in zip(values, samples["native"], strict=True)])
            for key, values in samples.items() if key != "native"
        },
    }  # fmt: skip


def _children() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _bound(session: onnxruntime.InferenceSession, inputs: dict[str, np.ndarray]) -> Any:
    binding = session.io_binding()
    for name, array in inputs.items():
        binding.bind_cpu_input(name, array)
    for output in session.get_outputs():
        binding.bind_output(output.name, "cpu")
    return binding


def _runner(session: onnxruntime.InferenceSession, binding: Any) -> Any:
    return lambda: session.run_with_iobinding(binding)


def _spread(values: Sequence[float]) -> list[float]:
    """Lower quartile, median, upper quartile."""
    low, _, high = quantiles(values, n=4)
    return [low, median(values), high]


def _print(row: dict[str, Any]) -> None:
    low, middle, high = row["native_ms"]
    print(
        f"\n{row['network']}: native {middle:.4g} ms ({low:.4g} to {high:.4g}), weights "
        f"{row['weights_bytes'] / 1e6:.4g} MB, context {row['context_bytes'] / 1e6:.3g} MB"
    )
    for compiler, built in row["compilers"].items():
        print(
            f"  {compiler}: equal {built['equal']}, in ONNX Runtime {built['onnxruntime_equal']}; "
            f"shared library {built['binary_bytes'] / 1e6:.4g} MB, code "
            f"{built['code_bytes'] / 1e3:.0f} kB, compiled in {built['compile_s']:.0f} s"
        )
        for key in (compiler, f"{compiler}, onnxruntime"):
            low, middle, high = row["ratios"][key]
            print(f"    time of {key}: {middle:.3f} of native's ({low:.3f} to {high:.3f})")
        for kind, told in built["sanitizers"].items():
            print(f"    sanitizer {kind}: {told}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("networks", nargs="*", default=_NETWORKS)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--no-sanitizers", action="store_true", help="they take minutes")
    options = parser.parse_args(arguments)
    print(processor()["name"])
    rows = list[dict[str, Any]]()
    for network in options.networks:
        with tempfile.TemporaryDirectory() as place:
            try:
                rows.append(
                    measure(
                        network, Path(place), options.seconds, sanitizers=not options.no_sanitizers
                    )
                )
            except UnsupportedError as error:
                print(f"{network}: {error}")
                continue
        _print(rows[-1])
        if options.json is not None:
            told = {"processor": processor(), "networks": rows}
            options.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
