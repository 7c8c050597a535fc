"""Mappings for the terminal: the loop nest, what each level moves, what bounds and what costs.

Names from a network are put in as plain text: they carry neither markup nor control characters.
"""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mlcnn.codesign import (
    Amounts,
    Checked,
    Explained,
    Found,
    MappedNetwork,
    ScoredMapping,
    Search,
)
from mlcnn.report.table import columns_table, warning
from mlcnn.report.wording import (
    amount,
    figure,
    percent,
    plural,
    printable,
    uncounted_sentence,
)

__all__ = ["explained_text", "mapping_tables", "network_mapping_tables"]

_UNITS = {"edp": "pJ x cycles", "energy": "pJ", "latency": "cycles"}


def mapping_tables(found: ScoredMapping) -> RenderableType:
    """Everything about one mapping.

    Args:
        found: a mapping that was found or given.

    Returns:
        What ``rich.console.Console.print`` takes.
    """
    heading = Text.assemble(
        (printable(found.nest.name), "bold"), f" on {printable(found.architecture.name)}"
    )
    sizes = zip(found.nest.dims, found.nest.sizes, strict=True)
    layer = " ".join(f"{dim}{size}" for dim, size in sizes)
    parts: list[RenderableType] = [
        heading,
        Text(f"{layer}, {amount(found.nest.macs)} multiply-accumulates", "dim"),
        Text(),
        *(Text(line) for line in found.loops()),
        Text(),
        Text(found.text),
        Text(),
        *(Text(line) for line in _cost(found)),
        Text(),
        _accesses(found),
        Text(),
        _energy(found),
    ]
    if isinstance(found, Found):
        parts += [Text(), *(Text(line) for line in _known(found))]
    if isinstance(found, Checked):
        parts += [Text(), *_fit(found)]
    return Group(*parts)


def _cost(found: ScoredMapping) -> Iterator[str]:
    parts = found.breakdown
    yield f"latency      {found.latency_cycles:,.0f} cycles, bound by {parts.bound}"
    others = [one for one in parts.limits if one != parts.bound]
    if others:
        most = others[0]
        yield f"             next {most.cycles:,.0f} cycles: {most}"
    yield f"energy       {figure(found.energy_pj / 1e6)} uJ"
    yield f"EDP          {found.edp:.6g} pJ x cycles"
    yield f"utilisation  {percent(found.utilisation)} of {parts.units:,} units"
    if parts.macs != found.nest.macs:
        extra = parts.macs - found.nest.macs
        yield (
            f"padding      {amount(extra)} of {amount(parts.macs)} products are padding "
            f"({percent(extra / parts.macs)})"
        )


def _accesses(found: ScoredMapping) -> Table:
    headings = ("reads", "fills", "updates", "energy, uJ")
    table = columns_table(
        ("level", False), ("operand", False), *((heading, True) for heading in headings),
        title=f"Words over all instances of a level ({found.rule.name})",
    )  # fmt: skip
    for one in found.breakdown.moved:
        words = (f"{words:,.0f}" for words in (one.reads, one.fills, one.updates))
        table.add_row(printable(one.level), one.operand.value, *words, figure(one.energy_pj / 1e6))
    return table


def _energy(found: ScoredMapping) -> Text:
    total = found.energy_pj or 1.0
    parts = (
        f"{printable(name)} {percent(energy / total)}"
        for name, energy in found.breakdown.energies.items()
    )
    return Text(f"Energy goes to {', '.join(parts)}.")


def _known(found: Found) -> Iterator[str]:
    """Whether it is the best, of what, and by how much work."""
    unit = _UNITS[str(found.search.objective)]
    yield _verdict(found.search, found.bound, found.gap, optimal=found.optimal)
    yield f"{plural(found.scored, 'mapping')} scored in {found.seconds:.1f} CPU-seconds ({unit})"


def _verdict(search: Search, bound: float, gap: float, *, optimal: bool) -> str:
    name = str(search.objective)
    space = f"of {search.factors.told}"
    if optimal:
        return f"optimal in {name} {space}"
    return (
        f"not proven: at most {percent(gap)} above the best {name} {space}; nothing is below "
        f"{bound:.6g} {_UNITS[name]}"
    )


def _fit(found: Checked) -> Iterator[RenderableType]:
    if found.fits:
        yield Text("It fits.")
    for one in found.misfits:
        yield warning(f"it does not fit: {one}")
    for line in found.help:
        yield Text(line)


def network_mapping_tables(found: MappedNetwork, name: str) -> RenderableType:
    """Everything about the mappings of a network.

    Args:
        found: they.
        name: of the network.

    Returns:
        What ``rich.console.Console.print`` takes.
    """
    count = sum(len(one.group.names) for one in found.layers)
    heading = Text.assemble(
        (printable(name), "bold"),
        f" on {printable(found.architecture.name)}, {plural(count, 'layer')}, "
        f"{len(found.layers)} of them different",
    )
    parts: list[RenderableType] = [
        heading,
        Text(),
        _layers(found),
        Text(),
        *(
            Text.assemble((f"{printable(one.group.names[0])}  ", "bold"), one.found.text)
            for one in found.layers
        ),
    ]
    parts += [Text(), *(Text(line) for line in _together(found))]
    if found.interrupted:
        parts.append(warning("interrupted: these are the best mappings so far"))
    if found.uncounted:
        parts += [Text(), warning(uncounted_sentence(found.uncounted))]
    return Group(*parts)


def _layers(found: MappedNetwork) -> Table:
    headings = ("times", "cycles", "energy, uJ", "util.")
    table = columns_table(
        ("layer", False), *((heading, True) for heading in headings),
        ("bound by", False), (f"own {found.search.objective}, gap", True),
        title="Each layer once, and how often it is there",
    )  # fmt: skip
    for one in found.layers:
        mapped = one.found
        table.add_row(
            printable(one.group.names[0]),
            str(len(one.group.names)),
            f"{mapped.latency_cycles:,.0f}",
            figure(mapped.energy_pj / 1e6),
            percent(mapped.utilisation),
            printable(mapped.breakdown.bound.level),
            f"{one.own.value:.4g}, {'optimal' if one.own.optimal else percent(one.own.gap)}",
        )
    table.add_section()
    table.add_row(
        "all", str(sum(len(one.group.names) for one in found.layers)),
        f"{found.latency_cycles:,.0f}", figure(found.energy_pj / 1e6), "", "", "",
    )  # fmt: skip
    return table


def _together(found: MappedNetwork) -> Iterator[str]:
    own, name = found.own, str(found.search.objective)
    yield (
        f"together {found.latency_cycles:,.0f} cycles, {figure(found.energy_pj / 1e6)} uJ, EDP "
        f"{found.edp:.6g} pJ x cycles (sum of energies times sum of cycles)"
    )
    if name == "edp":
        more = own.product / found.edp - 1
        yield (
            f"each layer by the best EDP found for itself: {own.latency:,.0f} cycles, "
            f"{figure(own.energy / 1e6)} uJ, EDP {own.product:.6g}"
            + (f", {percent(more)} more" if more > 0 else "")
        )
    yield _verdict(found.search, found.bound, found.gap, optimal=found.optimal)


def explained_text(told: Explained) -> RenderableType:
    """How a count comes about.

    Args:
        told: it.

    Returns:
        What ``rich.console.Console.print`` takes.
    """
    table = columns_table(
        ("counted by", False), ("reads", True), ("fills", True), ("updates", True),
        title="Words over all instances",
    )  # fmt: skip

    def add(name: str, words: Amounts) -> None:
        table.add_row(name, *(f"{one:,.0f}" for one in (words.reads, words.fills, words.updates)))

    for name, words in told.conventions.items():
        add(name, words)
    if told.walked is not None:
        add("a walk of every word", told.walked)
    heading = Text.assemble(
        (f"{printable(told.level)}.{told.operand.value}", "bold"), f", counted as {told.rule}"
    )
    note = [Text(f"{told.not_walked}.")] if told.not_walked else []
    return Group(heading, *(Text(line) for line in told.lines), Text(), table, *note)
