"""What convolutions fused with their pools buy under one area: the best design with and without.

Arrays: the best design of the template ``mlcnn`` beside the best of ``dense``, each proven to be
the best of its space, at equal precision and with the precision free. Loop nests: the best
``gemmini`` that is found for a network whose pooled sites may run with the expanded kernel, beside
the best for the plain convolutions, whose pools are left out.

    python -m benchmarks.fused_designs arrays vgg16 googlenet --batch 1
    python -m benchmarks.fused_designs gemmini vgg16 --area 1.0 --budget 300
"""

import argparse
import math
from collections.abc import Sequence

import mlcnn
from mlcnn.accelerators import load_accelerator, load_technology
from mlcnn.api import ExploreOptions
from mlcnn.api.nests import NetworkOptions, network_tasks
from mlcnn.codesign.exploration import Evaluation, Explored, Quantity, value_text

__all__ = ["main"]

_UM2_PER_MM2 = 1e6
_SPACES = {"fp32": ("fine", ("precision=fp32",)), "free": ("powers", ())}
"""For each choice of precisions the space and its part."""
_NOT_TINY = ("scratchpad_kb=16..2048", "accumulator_kb=8..2048")
"""Sizes of gemmini: with smaller memories a network takes minutes to map, and none is the best."""
_HEAD = """\
| network | precision | least | template | design | cycles | energy, uJ | EDP | area, mm2 |
|---|---|---|---|---|---|---|---|---|"""


def _default_area() -> float:
    """Square millimetres of the accelerator mlcnn-fp32."""
    return load_accelerator("mlcnn-fp32").area(load_technology()) / _UM2_PER_MM2


def _row(precision: str, found: Explored) -> str:
    one = found.front[0]
    design = " ".join(f"{name}={value_text(value)}" for name, value in one.hardware.items())
    cost = one.found
    return (
        f"| {found.network} | {precision} | {found.objectives[0]} | {found.space.template.name} | "
        f"{design} | {cost.latency_cycles:,.0f} | {cost.energy_pj / 1e6:,.1f} | {cost.edp:.4g} | "
        f"{(cost.area_um2 or 0) / _UM2_PER_MM2:.3f} |"
    )


def _told(found: Explored) -> str:
    return (
        f"{found.space.template.name}: {found.scored} of {found.candidates} designs priced in "
        f"{found.ending.seconds:.0f} CPU-seconds, {found.ending.told}, gap {found.gap or 0:.2%}"
    )


def _gains(of: Evaluation, against: Evaluation) -> str:
    three = Quantity.LATENCY, Quantity.ENERGY, Quantity.EDP
    return ", ".join(f"{one} / {one.of(against) / one.of(of):.3f}" for one in three)


def _by_layer(of: Evaluation, against: Evaluation, names: Sequence[str]) -> None:
    """Some layers on both designs."""
    mine, other = ({n: one for one in found.layers for n in one.names} for found in (of, against))
    print("\n| layer | form | cycles | against | energy, uJ | against |\n|---|---|---|---|---|---|")
    for name in names:
        one, beside = mine[name], other[name]
        print(
            f"| {name} | {one.form} | {one.latency_cycles:,.0f} | {beside.latency_cycles:,.0f} = "
            f"{beside.latency_cycles / one.latency_cycles:.2f}x | {one.energy_pj / 1e6:,.2f} | "
            f"{beside.energy_pj / 1e6:,.2f} = {beside.energy_pj / one.energy_pj:.2f}x |"
        )
    print(flush=True)


def _pooled(network: str) -> list[str]:
    """The layers that a pool can be fused with."""
    tasks = network_tasks(network, NetworkOptions(batch=1))
    return [task.nest.name for task in tasks if task.nest.pool is not None]


def _arrays(network: str, precision: str, objective: Quantity, area: float, batch: int) -> None:
    space, ranges = _SPACES[precision]
    both = [
        mlcnn.explore(
            network,
            ExploreOptions(template, space, ranges, str(objective), area, search="proof"),
            NetworkOptions(batch=batch),
        )
        for template in ("mlcnn", "dense")
    ]
    fused, dense = (one.front[0].found for one in both)
    print(f"batch {batch}\n\n{_HEAD}", *(_row(precision, one) for one in both), sep="\n")
    print(f"\nmlcnn against dense: {_gains(fused, dense)}", *map(_told, both), "", sep="\n")
    if objective is Quantity.EDP:
        _by_layer(fused, dense, _pooled(network))


def _gemmini(network: str, area: float, batch: int, budget_s: float) -> None:
    both = [
        mlcnn.explore(
            network,
            ExploreOptions(
                "gemmini",
                ranges=_NOT_TINY,
                objectives="edp",
                area_mm2=area,
                budget_s=budget_s,
                expanded=expanded,
            ),
            NetworkOptions(batch=batch),
        )
        for expanded in (True, False)
    ]
    expanded, plain = (one.front[0].found for one in both)
    print(f"batch {batch}\n\n{_HEAD}", *(_row("int8", one) for one in both), sep="\n")
    print(f"\nexpanded against plain: {_gains(expanded, plain)}", *map(_told, both), "", sep="\n")
    _by_layer(expanded, plain, _pooled(network))


def main(arguments: Sequence[str] | None = None) -> None:
    """Explore with and without, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("arrays", "gemmini"))
    parser.add_argument("networks", nargs="+")
    parser.add_argument("--area", type=float, help="mm2; that of mlcnn-fp32, or 1 for gemmini")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--precision", choices=tuple(_SPACES), nargs="+", default=tuple(_SPACES))
    parser.add_argument("--budget", type=float, default=math.inf, help="seconds of each search")
    given = parser.parse_args(arguments)
    for network in given.networks:
        if given.what == "gemmini":
            _gemmini(network, given.area or 1.0, given.batch, given.budget)
            continue
        for precision in given.precision:
            for objective in (Quantity.EDP, Quantity.LATENCY):
                _arrays(network, precision, objective, given.area or _default_area(), given.batch)


if __name__ == "__main__":
    main()
