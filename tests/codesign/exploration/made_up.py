"""A network whose cost on a design is a formula: what tests of the search need of a mapper."""

import time

from mlcnn.codesign.exploration import (
    Candidates,
    Evaluation,
    Finished,
    Limit,
    LoopNests,
    Quantity,
    load_template,
)
from mlcnn.codesign.exploration.evaluation import LayerMapping, Unfinished
from mlcnn.codesign.layer_searches import LayerGroup
from mlcnn.workload import ConvLayer, loop_nest

GROUPS = (
    LayerGroup(loop_nest(ConvLayer("a", 1, 64, 32, 16, 16, 3, 3)), ("a", "b")),
    LayerGroup(loop_nest(ConvLayer("c", 1, 128, 64, 8, 8, 1, 1)), ("c",)),
)
QUICK = ("pe=2..16", "scratchpad_kb=2..16", "accumulator_kb=1..8")


def candidates(limits=(), ranges=QUICK, name="gemmini"):
    return Candidates.of(load_template(name).space(ranges=ranges), LoopNests(GROUPS), limits)


def area_limit(mm2):
    return Limit(Quantity.AREA, mm2 * 1e6)


class Formula:
    """Workers that map nothing: a factor above the bounds that falls as memories grow.

    Args:
        found: the candidates.
        after: so many designs after which the time is over.
    """

    def __init__(self, found, after=None):
        self.candidates, self.after, self.mapped = found, after, []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def evaluation(self, number):
        found = self.candidates
        values = found.space.values(found.designs[number])
        memory = 1 + 2.0 / values["scratchpad_kb"] + 3.0 / values["accumulator_kb"]
        uneven = 1 + 0.01 * (hash(tuple(values.values())) % 7)
        energy, latency = found.energy_pj[number] * memory * uneven, found.latency_cycles[number]
        latency *= 1 + 0.5 / values["scratchpad_kb"]
        layer = LayerMapping(("a",), "text", float(energy), float(latency))
        return Evaluation((layer,), 0.0, found.clock_mhz, float(found.area_um2[number]))

    def all(self):
        return {number: self.evaluation(number) for number in range(len(self.candidates))}

    def map(self, jobs, deadline):
        if time.time() > deadline:
            raise Unfinished
        for job in jobs:
            if self.after is not None and len(self.mapped) >= self.after:
                raise Unfinished
            self.mapped.append(job.number)
            yield Finished(job.number, self.evaluation(job.number), "", 1.0)
