"""Many machines at once."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from mlcnn.accelerators import LayerTask, load_accelerator
from mlcnn.accelerators.array import sweep_cycles
from mlcnn.accelerators.array.search import choose
from mlcnn.errors import InfeasibleError
from mlcnn.reproduce.paper_networks import paper_tasks


def _variants(name, count):
    base = load_accelerator(name)
    grid = product((8, 16, 24, 32, 48), (2, 16, 64), (4.0, 64.0), (8, 16))
    fields = ("slices", "buffer_kb", "bandwidth", "multipliers")
    found = []
    for values in list(grid)[:: max(60 // count, 1)][:count]:
        v = dict(zip(fields, values, strict=True))
        found.append(
            replace(
                base, slices=v["slices"], input_bytes=v["buffer_kb"] * 512,
                weight_bytes=v["buffer_kb"] * 512,
                dram_bytes_per_cycle=v["bandwidth"], multipliers=v["multipliers"],
            )
        )  # fmt: skip
    return found


def _least(task: LayerTask, machine):
    found = []
    for work in machine.ways(task):
        try:
            found.append(choose(work, machine, 0.0).cycles)
        except InfeasibleError:
            found.append(np.inf)
    return min(found)


@pytest.mark.parametrize("network", ["lenet5", "vgg16"])
def test_a_sweep_is_the_search_on_every_machine(network):
    tasks = [task for task in paper_tasks(network, 2) if task.layer.pool is not None]
    machines = _variants("mlcnn-fp32", 6) + _variants("dcnn-int8", 2)
    expected = [[_least(task, machine) for task in tasks] for machine in machines]
    assert np.array_equal(sweep_cycles(tasks, machines), expected)
