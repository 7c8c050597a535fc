"""Maps a layer with AccelForge's optimal mapper, for ``benchmarks.mapping_peers``.

It runs in an environment of its own, without this package: files with architecture and workload in;
a line of JSON for each out: energy, latency, their product, processor seconds of the search alone,
and the actions of each component and tensor.
"""

import json
import resource
import sys

import accelforge
from accelforge.frontend.mapper.metrics import Metrics
from accelforge.util.parallel import set_n_parallel_jobs

_BETWEEN = "<SEP>"


def _seconds() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def main() -> None:
    """Print what is found for each."""
    set_n_parallel_jobs(1)
    for path in sys.argv[1:]:
        spec = accelforge.Spec.from_yaml(path)
        spec.mapper.metrics = Metrics.ENERGY_DELAY_PRODUCT
        start = _seconds()
        found = spec.map_workload_to_arch(print_progress=False)
        seconds = _seconds() - start
        actions = {
            " ".join(column.split(_BETWEEN)[2:]): float(found[column].iloc[0])
            for column in found.columns
            if f"{_BETWEEN}action{_BETWEEN}" in column
        }
        energy, latency = float(found.energy()), float(found.latency())
        told = {"energy_pj": energy, "latency_cycles": latency, "edp": energy * latency}
        print(json.dumps(told | {"seconds": seconds, "actions": actions}), flush=True)


main()
