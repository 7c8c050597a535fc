"""The mapper beside AccelForge's on one Gemmini and one layer: optima and processor seconds.

ResNet-18's ``layer1`` at 224 x 224 for the least energy x delay. AccelForge (1.0.467, from
https://github.com/Accelergy-Project/accelforge) needs Python 3.12 and ``dot`` on the path, so it
runs in an environment of its own, with one process:

    python -m benchmarks.mapping_peers --python ENV/bin/python

It is told the same energies, capacities, fan-outs, dimensions side by side, bandwidths and choices
of what is kept, a word of every level being 8 bits. It knows no blocks (accesses rounded up to 64
words of the DRAM and 16 of the scratchpad), and counts the reading of an output's tile on its way
up where we count that its first visit is written: as many words.

Its seconds are told twice: of a fresh process, where it compiles as it goes, and after it has
mapped another layer. Ours are of a fresh process; the kernel's compiler, which runs once for an
installation, is left out.
"""

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.mapping import RESNET18
from mlcnn.codesign import Architecture, Level, Objective, Operand, find_mapping, load_architecture
from mlcnn.codesign.compiled import kernel
from mlcnn.errors import InputError
from mlcnn.workload import LoopNest, Projection, loop_nest

__all__ = ["main", "peer_spec"]

_WORD_BITS = 8
_NAMES = {Operand.WEIGHT: "W", Operand.INPUT: "I", Operand.OUTPUT: "O"}


def peer_spec(nest: LoopNest, architecture: Architecture) -> dict[str, Any]:
    """A machine and a layer as AccelForge reads them; energies in pJ, times in cycles.

    Args:
        nest: the layer.
        architecture: the machine: capacities shared by the operands, bandwidths by directions.

    Raises:
        InputError: the machine has capacities or bandwidths of another kind.
    """
    nodes: list[dict[str, Any]] = []
    for number, level in enumerate(architecture.levels):
        nodes.append(_memory(level, outermost=number == 0))
        if level.fan_out.size > 1:
            nodes.append(_fan_out(level, number, nest))
    mac = {"name": "compute", "energy": architecture.mac_energy_pj, "throughput": 1}
    nodes.append({"!": "Compute", "name": "mac", "leak_power": 0, "area": 0, "actions": [mac]})
    output, *sources = (
        f"{_NAMES[operand]}[{_axes(projection)}]"
        for operand, projection in sorted(
            zip(Operand, nest.operands, strict=True), key=lambda one: one[0] is not Operand.OUTPUT
        )
    )
    sizes = [
        f"0 <= {dim.lower()} < {size}" for dim, size in zip(nest.dims, nest.sizes, strict=True)
    ]
    einsum = {
        "einsum": f"{output} = {' * '.join(sources)}",
        "iteration_space_shape": sizes,
        "renames": {operand.value: name for operand, name in _NAMES.items()},
    }
    workload = {"bits_per_value": {"All": _WORD_BITS}, "rank_sizes": {}, "einsums": [einsum]}
    return {"arch": {"nodes": nodes}, "workload": workload}


def _axes(projection: Projection) -> str:
    return ", ".join(
        f"X{number}: {' + '.join(f'{t.step} * {t.dim.lower()}' for t in axis)}"
        if len(axis) > 1
        else axis[0].dim.lower()
        for number, axis in enumerate(projection.axes)
    )


def _memory(level: Level, *, outermost: bool) -> dict[str, Any]:
    separate = (level.read_bandwidth, level.write_bandwidth)
    if not (level.capacity is None or isinstance(level.capacity, int)) or any(separate):
        raise InputError(f"level {level.name}: only shared capacities and bandwidths are compared")
    kept = " | ".join(_NAMES[operand] for operand in level.keeps)
    throughput = "inf" if level.shared_bandwidth is None else level.shared_bandwidth
    actions = [
        {"name": name, "energy": pj, "bits_per_action": _WORD_BITS, "throughput": throughput}
        for name, pj in (("read", level.read_pj), ("write", level.write_pj))
    ]
    return {
        "!": "Memory",
        "name": level.name,
        "size": "inf" if level.capacity is None else level.capacity * _WORD_BITS,
        "leak_power": 0,
        "area": 0,
        "tensors": {"keep": "All"} if outermost else {"keep": "Nothing", "may_keep": kept},
        "actions": actions,
    }


def _fan_out(level: Level, number: int, nest: LoopNest) -> dict[str, Any]:
    spatial: dict[str, Any] = {"name": f"S{number}", "fanout": level.fan_out.size}
    if level.fan_out.dims is not None:
        taken = " | ".join(dim.lower() for dim in level.fan_out.dims if dim in nest.dims)
        spatial["loop_bounds"] = [{"expression": f"~({taken})", "operator": "==", "value": 1}]
    return {"!": "Container", "name": f"below_{level.name}", "spatial": [spatial]}


def _yaml(spec: dict[str, Any]) -> str:
    """As YAML: JSON with the tags of the nodes."""
    nodes = [
        f"  - !{node['!']} {json.dumps({key: value for key, value in node.items() if key != '!'})}"
        for node in spec["arch"]["nodes"]
    ]
    workload = f"workload: {json.dumps(spec['workload'])}"
    return "\n".join(["arch:", "  nodes:", *nodes, workload, ""])


def _told(name: str, found: dict[str, Any]) -> str:
    return (
        f"{name}: EDP {found['edp']:.6e} pJ x cycles, {found['energy_pj'] / 1e6:.4f} uJ, "
        f"{found['latency_cycles']:,.0f} cycles, {found['seconds']:.2f} s of processor time"
    )


def main() -> None:
    """Print both optima, their difference and the seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", required=True, help="of an environment with AccelForge")
    parser.add_argument("--budget", type=float, default=60.0, help="seconds of our search")
    given = parser.parse_args()
    machine, nest = load_architecture("gemmini"), loop_nest(RESNET18[1])
    kernel()  # is compiled once for all, as a part of the installation
    start = time.process_time()
    found = find_mapping(nest, machine, Objective.EDP, budget_s=given.budget)
    seconds = time.process_time() - start
    energy, latency = float(found.score.energy_pj[0]), float(found.score.latency_cycles[0])
    ours = {"energy_pj": energy, "latency_cycles": latency, "edp": energy * latency}
    ours["seconds"] = seconds
    print(_told("ours", ours), f"({'proven' if found.optimal else f'gap {found.gap:.2%}'})")
    print(found.mapping.text(machine))
    fresh, *_ = _peer(given.python, [nest], machine)
    _, warm = _peer(given.python, [loop_nest(RESNET18[4]), nest], machine)
    for name, run in (("fresh", fresh), ("after another layer", warm)):
        print(_told(f"AccelForge, {name}", run), f"({run['seconds'] / seconds:.1f} times ours)")
    for name in ("edp", "energy_pj", "latency_cycles"):
        print(f"{name}: ours / AccelForge - 1 = {ours[name] / fresh[name] - 1:.2e}")
    print("its actions:", json.dumps(fresh["actions"]))


def _peer(python: str, nests: list[LoopNest], machine: Architecture) -> list[dict[str, Any]]:
    """What AccelForge finds for layers in turn, in one process."""
    with tempfile.TemporaryDirectory() as folder:
        command = [python, str(Path(__file__).with_name("mapping_accelforge.py"))]
        for number, nest in enumerate(nests):
            path = Path(folder) / f"{number}.yaml"
            path.write_text(_yaml(peer_spec(nest, machine)), encoding="utf-8")
            command.append(str(path))
        done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


if __name__ == "__main__":
    main()
