"""Bits of its own for every layer, as few as a budget of accuracy allows, without training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_ir as ir

from mlcnn.accelerators import LayerTask, evaluate_layer, network_tasks, scaling_told
from mlcnn.api.dynamic import Dynamic
from mlcnn.api.evaluation import Machines
from mlcnn.api.skipping.work import Parts, Work
from mlcnn.errors import InputError
from mlcnn.frontier import Cost, Frontier, Point
from mlcnn.frontier.exits import Judged
from mlcnn.frontier.widths import LOOKED_AT, Harm, Operand, order
from mlcnn.training.intervals import Accuracy, Right, paired
from mlcnn.training.quantisation import divergence
from mlcnn.training.quantisation.grid import WHOLE_BITS
from mlcnn.training.quantisation.widths import LEAST_WIDTH, Narrowing, Widths, narrowing
from mlcnn.workload import Numbers, read

__all__ = [
    "NO_CPU_GAIN",
    "Bits",
    "Narrowed",
    "machines_of",
    "narrow",
    "point_of",
    "right_before",
    "setting_of",
    "widths_told",
]

NO_CPU_GAIN = (
    "no processor computes codes of fewer than 8 bits faster: in engines this network is no faster "
    "than one of 8 bits (mlcnn quantize); what it saves is energy of a machine that takes the bits"
)
_LOOK = "find out what bits do"
_CALIBRATION = 512
_LOOKED_AT = 128
_UNIFORM = (6, 5, 4)
_TIGHTER = 5


@dataclass(frozen=True, slots=True, eq=False)
class Narrowed:
    """A network of few bits, within a budget on the images that choose and on those that check.

    Attributes:
        widths: bits by layer and value.
        model: the network.
        choose: what it says of the images that choose.
        check: of those that check.
    """

    widths: Widths
    model: ir.Model
    choose: Judged
    check: Judged


@dataclass(frozen=True, slots=True, eq=False)
class Bits:
    """Networks with fewer and fewer bits, in the order that saves most energy for least harm.

    Attributes:
        work: the network, its images and the machine.
        parts: the images.
        narrowing: what makes networks of few bits.
        end: what the network in floats says of the images that choose and check.
        path: the operand that loses a bit at each step.
    """

    work: Work
    parts: Parts
    narrowing: Narrowing
    end: tuple[Judged, Judged]
    path: tuple[Operand, ...]
    _lost: dict[int, float] = field(default_factory=dict)

    @classmethod
    def of(cls, work: Work, parts: Parts, machines: Machines) -> "Bits":
        """Calibrate, and find the order.

        Raises:
            InputError: the machine saves nothing where layers have fewer bits.
        """
        images = work.normal.apply(parts.heads.images[:_CALIBRATION])
        made = narrowing(work.model, images, progress=work.tell)
        energy = _Energy.of(made, machines)
        harms = _harms(work, parts, made)
        path = order(harms, energy.saved, most=WHOLE_BITS, least=LEAST_WIDTH)
        end = (work.says(work.model, parts.choose), work.says(work.model, parts.check))
        return cls(work, parts, made, end, tuple(path))

    def at(self, steps: int) -> Narrowed:
        """The network after so many steps."""
        return self.with_widths(self._widths(steps))

    def _widths(self, steps: int) -> Widths:
        widths = self.narrowing.whole
        for operand in self.path[:steps]:
            widths = widths.less(operand.kind, operand.name)
        return widths

    def with_widths(self, widths: Widths) -> Narrowed:
        """The network with given bits."""
        model = self.narrowing.with_widths(widths)
        says = (self.work.says(model, part) for part in (self.parts.choose, self.parts.check))
        return Narrowed(widths, model, *says)

    def drops(self, found: Narrowed) -> tuple[float, float]:
        """What it loses on the images that choose and on those that check, 0 to 1."""
        pairs = zip(self.end, (found.choose, found.check), strict=True)
        first, second = (float(a.right.mean() - b.right.mean()) for a, b in pairs)
        return first, second

    def told(self, found: Narrowed) -> tuple[str, ...]:
        """What is printed of a network of few bits: them, how energy follows, and who gains."""
        layers = read(found.model, batch=1).layers
        scaling = scaling_told(machines_of(self.work).on[0], layers)
        return (widths_told(self.narrowing, found.widths), *scaling, NO_CPU_GAIN)

    def within(self, budget: float) -> Narrowed:
        """The farthest along the path that loses no more on the images that choose.

        Less is allowed while the images that check lose more.

        Args:
            budget: what may be lost, 0 to 1.
        """
        allowed = budget
        for _ in range(_TIGHTER):
            found = self.at(self._farthest(allowed))
            drop = self.drops(found)[1]
            if drop <= budget:
                return found
            allowed *= min(max(budget, 0.0) / drop, 0.9)
        return self.at(0)

    def _farthest(self, allowed: float) -> int:
        """By bisection: a few more bits are taken to lose no more."""
        low, high = 0, len(self.path) + 1
        while high - low > 1:
            middle = (low + high) // 2
            self.work.tell("choose bits", 0, 0)
            if self._drop(middle) <= allowed:
                low = middle
            else:
                high = middle
        return low

    def _drop(self, steps: int) -> float:
        """What is lost after so many steps on the images that choose, 0 to 1."""
        if steps not in self._lost:
            model = self.narrowing.with_widths(self._widths(steps))
            right = self.work.says(model, self.parts.choose).right
            self._lost[steps] = float(self.end[0].right.mean() - right.mean())
        return self._lost[steps]


def narrow(work: Work, name: str) -> Dynamic:
    """The network with as few bits for each layer as the budget allows.

    Beside it stand networks with the same bits for all layers but the ends of the path.

    Args:
        work: what is left to do.
        name: of the network.

    Raises:
        InputError: no machine is named, or it takes no narrower numbers; or nothing is within the
            budget.
    """
    parts = work.parts()
    for line in parts.told:
        work.say(line)
    bits = Bits.of(work, parts, machines_of(work))
    budget = work.options.max_drop / 100
    uniform = [bits.with_widths(_uniform(bits.narrowing.whole, count)) for count in _UNIFORM]
    tried = [bits.within(budget), *uniform]
    kept = [found for found in tried if max(bits.drops(found)) <= budget]
    if not kept:
        raise InputError(
            f"--max-drop {work.options.max_drop:g}: already {WHOLE_BITS} bits for all layers lose "
            "more; allow more, or fine-tune (mlcnn quantize --finetune)"
        )
    before = right_before(work, parts, bits.end)
    points = [point_of(work, parts, before, found) for found in tried]
    original = work.original(before, parts)
    frontier = Frontier(original, tuple(points), "energy_pj")
    chosen = min(kept, key=lambda item: points[tried.index(item)].costs["energy_pj"].mean)
    notes = (*parts.told, *bits.told(chosen))
    point = points[tried.index(chosen)]
    return Dynamic(name, work.model, chosen.model, point, frontier, notes)


def machines_of(work: Work) -> Machines:
    """The machine that energy is evaluated on.

    Raises:
        InputError: none is named.
    """
    if work.machines is None:
        raise InputError("few bits save energy: name the accelerator, as --on dcnn-int8-scaled")
    return work.machines


def right_before(work: Work, parts: Parts, end: tuple[Judged, Judged]) -> dict[str, Right]:
    """What the network in floats has right, of the images that check and of those for the test."""
    return {"check": end[1].right, "test": work.says(work.model, parts.test).right}


def point_of(work: Work, parts: Parts, before: Mapping[str, Right], found: Narrowed) -> Point:
    """A network of few bits on the curve."""
    right = {"check": found.check.right, "test": work.says(found.model, parts.test).right}
    changes = {part: paired(before[part], right[part]) for part in before}
    accuracies = {
        part: Accuracy("bits", getattr(parts, part).name, len(each), float(each.mean()))
        for part, each in right.items()
    }
    costs = {
        name: Cost.fixed(cost.worst)
        for name, cost in work.all_costs(found.model, found.model, parts).items()
    }
    return Point(
        "bits", setting_of(found.widths), costs, accuracies["check"], changes["check"],
        accuracies["test"], changes["test"],
    )  # fmt: skip


def setting_of(widths: Widths) -> dict[str, float | str]:
    """Mean bits of weights and inputs."""
    return {
        kind: float(np.mean([*getattr(widths, kind).values()])) for kind in ("weights", "inputs")
    }


def widths_told(made: Narrowing, widths: Widths) -> str:
    """Bits of weight and input, layer by layer, as printed."""
    rows = (
        f"{layer.name} {widths.weights[layer.name]}x{widths.inputs[_read(layer.node)]}"
        for layer in made.placement.layers
    )
    return f"bits of weight x input: {', '.join(rows)}"


def _read(node: ir.Node) -> str:
    value = node.inputs[0]
    return "" if value is None else value.name or ""


def _uniform(whole: Widths, bits: int) -> Widths:
    return Widths(dict.fromkeys(whole.weights, bits), dict.fromkeys(whole.inputs, bits))


def _harms(work: Work, parts: Parts, made: Narrowing) -> dict[Operand, Harm]:
    """What each operand does to the results, when it alone has few bits."""
    images = parts.choose.first(_LOOKED_AT)
    whole = made.whole
    expected = work.scores(made.with_widths(whole), images, _LOOK)[0].astype(np.float32)
    operands = [
        Operand(kind, name) for kind in ("weights", "inputs") for name in getattr(whole, kind)
    ]
    found: dict[Operand, Harm] = {}
    for done, operand in enumerate(operands):
        work.tell(_LOOK, done, len(operands))
        values = list[float]()
        for count in LOOKED_AT:
            given = {**getattr(whole, operand.kind), operand.name: count}
            model = made.with_widths(replace(whole, **{operand.kind: given}))
            scores = work.scores(model, images, _LOOK)[0].astype(np.float32)
            values.append(divergence(expected, scores))
        found[operand] = Harm(*values)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Energy:
    """Energy of layers by their bits, on the machine asked about; outputs as they are written."""

    made: Narrowing
    machines: Machines
    tasks: Mapping[str, LayerTask]
    found: dict[tuple[str, int, int], float] = field(default_factory=dict)

    @classmethod
    def of(cls, made: Narrowing, machines: Machines) -> "_Energy":
        tasks = network_tasks(made.with_widths(made.whole), batch=machines.batch or 1)
        energy = cls(made, machines, {task.layer.name: task for task in tasks})
        wide, few = (
            sum(energy.layer(name, bits, bits) for name in energy.tasks)
            for bits in (WHOLE_BITS, LEAST_WIDTH)
        )
        if few >= wide:
            raise InputError(
                f"--on {machines.on[0].name}: layers of fewer bits cost there what those of "
                f"{WHOLE_BITS} cost; name a machine that takes them, as dcnn-int8-scaled"
            )
        return energy

    def layer(self, name: str, weight: int, given: int) -> float:
        key = name, weight, given
        if key not in self.found:
            task = self.tasks[name]
            layer = replace(task.layer, numbers=Numbers(weight, given))
            # What only layers read lies in memory as they read it.
            loaded = min(task.loaded_bits, given) if task.loaded_bits <= WHOLE_BITS else 32
            task = replace(task, layer=layer, loaded_bits=loaded)
            cost = evaluate_layer(task, self.machines.on[0], self.machines.technology)
            self.found[key] = cost.energy.total
        return self.found[key]

    def saved(self, operand: Operand, bits: Mapping[Operand, int]) -> float:
        """What one bit less of an operand saves."""
        if operand.kind == "weights":
            names: Sequence[str] = (operand.name,)
        else:
            names = self.made.readers(operand.name)
        total = 0.0
        for name in names:
            weight, given = Operand("weights", name), Operand("inputs", self._input(name))
            before = bits[weight], bits[given]
            after = tuple(bits[each] - (each == operand) for each in (weight, given))
            total += self.layer(name, *before) - self.layer(name, *after)
        return total

    def _input(self, name: str) -> str:
        return next(_read(la.node) for la in self.made.placement.layers if la.name == name)
