"""How long the hardware takes for a layer: in closed form, and command by command under stalls.

A layer begins with its two configuration commands; ``latency + 3`` cycles after the second the
commands for bias and scale go out, one a cycle; the first step begins in the cycle after the last
of them. Then come the steps: one that loads the first chunk; one for each tile and chunk, which
loads the next chunk, computes this one and, where the chunk is a tile's first, lets the tile before
leave; and one in which the last tile leaves. The layer ends when the last store is acknowledged.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mlcnn.accelerators.array.steps import (
    CONFIGURATION_BEATS,
    Hardware,
    begin_cycles,
    leave_beats,
    leave_cycles,
    load_cycles,
    sets_of,
)
from mlcnn.errors import InputError
from mlcnn.rtl.configuration import Configuration

__all__ = [
    "Ready",
    "Steps",
    "Tile",
    "Walk",
    "layer_cycles",
    "ready_at",
    "steps_of",
    "tiles",
    "walk",
]

Whole = NDArray[np.int64]

_PARAMETERS_AFTER: Final = 3
"""Cycles, beside the latency, from the second configuration command to the first parameter one."""
_STALLS_MOST: Final = 99


@dataclass(frozen=True, slots=True)
class Steps:
    """Cycles of the units in each step of a layer without stalls, shape (steps,) each.

    Attributes:
        load: of what is loaded for the next step.
        compute: of the array.
        leave: of the tile that leaves.
    """

    load: Whole
    compute: Whole
    leave: Whole

    @property
    def cycles(self) -> Whole:
        """Of the steps: of the slowest unit."""
        return np.maximum(np.maximum(self.load, self.compute), np.maximum(self.leave, 1))


@dataclass(frozen=True, slots=True)
class Tile:
    """A tile of a layer's outputs.

    Attributes:
        first_filter: its first output channel.
        filters: output channels of it.
        first_line, first_column: its first final output.
        lines, line: final outputs of it, down and along.
        first_row, first_input_column: its first input; less than 0 in the padding.
        rows, columns: inputs of it with their padding.
        way_lines: lines of a way.
        turns: groups of output channels that take turns on the slices.
        fill: beats that fill the slices with one set of weights.
    """

    first_filter: int
    filters: int
    first_line: int
    first_column: int
    lines: int
    line: int
    first_row: int
    first_input_column: int
    rows: int
    columns: int
    way_lines: int
    turns: int
    fill: int


def tiles(configuration: Configuration) -> Iterator[Tile]:
    """The tiles of a layer in the order in which the hardware takes them."""
    c = configuration
    outer, down, along = (range(n) for n in (c.output_tiles, c.row_tiles, c.column_tiles))
    if c.weights_outer:
        order = product(outer, down, along)
    else:
        order = ((o, r, q) for r, q, o in product(down, along, outer))
    for output, row, column in order:
        ends, low, right = (
            output == c.output_tiles - 1,
            row == c.row_tiles - 1,
            column == c.column_tiles - 1,
        )
        turns = c.last_turns if ends else c.turns
        yield Tile(
            first_filter=output * c.tile_filters,
            filters=(turns - 1) * c.turn_filters + (c.last_end_filters if ends else c.end_filters),
            first_line=row * c.lines,
            first_column=column * c.line,
            lines=c.last_lines if low else c.lines,
            line=c.last_line if right else c.line,
            first_row=row * c.tile_rows - c.pad_rows,
            first_input_column=column * c.tile_columns - c.pad_columns,
            rows=c.last_rows if low else c.rows,
            columns=c.last_columns if right else c.columns,
            way_lines=c.last_way_lines if low else c.way_lines,
            turns=turns,
            fill=c.last_fill if ends else c.fill,
        )


def layer_cycles(configuration: Configuration, hardware: Hardware) -> int:
    """Cycles of a layer without stalls: from its first configuration command to the next layer's.

    Args:
        configuration: of the layer.
        hardware: what is built, and its memory; see ``Build.hardware``.
    """
    filters = configuration.parameter_beats * hardware.lanes // hardware.multipliers
    return int(begin_cycles(hardware, filters) + steps_of(configuration, hardware).cycles.sum())


def steps_of(configuration: Configuration, hardware: Hardware) -> Steps:
    """Cycles of the units in each step of a layer without stalls.

    Args:
        configuration: of the layer.
        hardware: see ``layer_cycles``.
    """
    c = configuration
    ends, low, right = _ends(c)
    turns = np.where(ends, c.last_turns, c.turns)[:, None]
    fill = np.where(ends, c.last_fill, c.fill)[:, None]
    part = np.where(ends, c.last_end_filters, c.end_filters)[:, None]
    filters = (turns - 1) * c.turn_filters + part
    line = np.where(right, c.last_line, c.line)[:, None]
    rows = np.where(low, c.last_rows, c.rows) * np.where(right, c.last_columns, c.columns)
    final = np.arange(c.chunks) == c.chunks - 1
    groups = np.where(final, c.last_groups, c.groups)
    taps = c.kernel_rows * c.kernel_columns
    weights = (groups * taps * turns * fill).reshape(-1)
    inputs = (np.where(final, c.last_blocks, c.blocks) * rows[:, None]).reshape(-1)
    computed = sets_of(
        hardware,
        filters,
        groups * hardware.multipliers,
        taps,
        np.where(low, c.last_way_lines, c.way_lines)[:, None] * line,
        ways=1 << c.ways_log2,
        window=c.window_rows * c.window_columns,
    ).cycles
    lines = np.where(low, c.last_lines, c.lines)[:, None]
    beats = leave_beats(hardware, lines * line, filters, 1 << c.ways_log2).reshape(-1)
    commands = np.concatenate([weights + inputs, [0, 0]])
    leave = np.zeros(len(commands), np.int64)
    leaves = (1 + np.arange(len(ends))) * c.chunks + 1
    leave[leaves] = leave_cycles(hardware, commands[leaves], beats)
    return Steps(
        np.concatenate([load_cycles(hardware, weights, inputs), [0, 0]]),
        np.concatenate([[0], computed.reshape(-1), [0]]),
        leave,
    )


def _ends(c: Configuration) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Which tiles, in the order of ``tiles``, are the last in output channels, rows, columns."""
    counts = c.output_tiles, c.row_tiles, c.column_tiles
    flags = np.meshgrid(*(np.arange(count) == count - 1 for count in counts), indexing="ij")
    order = (0, 1, 2) if c.weights_outer else (1, 2, 0)
    ends, low, right = (flag.transpose(order).reshape(-1) for flag in flags)
    return ends, low, right


def ready_at(cycles: Whole, seed: int, percent: int) -> NDArray[np.bool_]:
    """Whether memory takes a command in a cycle: a trace that is random and can be repeated.

    Cycle n asks the n-th number of SplitMix64.

    Args:
        cycles: counted from the first command of the program.
        seed: of the trace, 0 to 2**64 - 1.
        percent: of the cycles in which memory takes none, 0 to 99.
    """
    x = np.uint64(seed) + (cycles.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ x >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ x >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return (x >> np.uint64(32)) * np.uint64(100) >> np.uint64(32) >= np.uint64(percent)


class Ready:
    """A trace of when memory takes a command.

    Args:
        seed: see ``ready_at``.
        percent: see ``ready_at``; 0 for a memory that takes one in every cycle.

    Raises:
        InputError: percent is not of 0 to 99.
    """

    def __init__(self, seed: int = 0, percent: int = 0) -> None:
        if not 0 <= percent <= _STALLS_MOST:
            raise InputError(
                f"stalls of {percent} percent: memory has to take commands now and then; give "
                f"0 to {_STALLS_MOST}"
            )
        self._seed = seed
        self._percent = percent
        self._known = 0
        self._ready = np.zeros(0, np.int64)

    def after(self, cycle: int, count: int) -> int:
        """The cycle after the one that takes the last of some commands.

        Args:
            cycle: in which the first is offered; each next one in the cycle after it was taken.
            count: of commands; with none it is ``cycle``.
        """
        if not self._percent or not count:
            return cycle + count
        while True:
            last = int(np.searchsorted(self._ready, cycle)) + count - 1
            if last < len(self._ready):
                return int(self._ready[last]) + 1
            self._extend()

    def _extend(self) -> None:
        """Looks further ahead: twice as far as before."""
        more = np.arange(self._known, max(2 * self._known, 4096))
        ready = more[ready_at(more, self._seed, self._percent)]
        self._ready = np.concatenate([self._ready, ready])
        self._known += len(more)


@dataclass(frozen=True, slots=True)
class Walk:
    """When things happened.

    Attributes:
        steps: first cycle of each step.
        end: cycle in which the next layer's first configuration command goes out.
    """

    steps: tuple[int, ...]
    end: int


def walk(configuration: Configuration, hardware: Hardware, ready: Ready, start: int = 0) -> Walk:
    """A layer, command by command.

    Args:
        configuration: of the layer.
        hardware: see ``layer_cycles``.
        ready: when memory takes a command.
        start: cycle in which the layer's first configuration command goes out.
    """
    c = configuration
    now = ready.after(start, CONFIGURATION_BEATS)
    now += hardware.dram_latency + _PARAMETERS_AFTER - 1
    now = ready.after(now, c.parameter_beats)
    work = [(tile, chunk) for tile in tiles(c) for chunk in range(c.chunks)]
    begins: list[int] = []
    before: Tile | None = None
    leaving: Tile | None = None
    for step in range(len(work) + 2):
        begins.append(now)
        ends = [now + 1]
        commands = now
        if step < len(work):
            commands = _load(c, *work[step], ready, now)
            ends.append(commands + hardware.dram_latency + hardware.input_stages)
        if step == len(work) + 1:
            leaving = before
        elif step > 0:
            tile, chunk = work[step - 1]
            ends.append(now + _compute(c, hardware, tile, chunk))
            leaving = before if chunk == 0 else None
            before = tile
        if leaving is not None:
            first = max(now + hardware.depth, commands) + hardware.output_stages
            beats = leave_beats(
                hardware, leaving.lines * leaving.line, leaving.filters, 1 << c.ways_log2
            )
            ends.append(ready.after(first, int(beats)))
        now = max(ends)
    return Walk(tuple(begins), now + hardware.write_latency)


def _load(c: Configuration, tile: Tile, chunk: int, ready: Ready, now: int) -> int:
    """The cycle after the last command cycle of a load.

    A position of the padding takes its cycle, and no command.
    """
    last = chunk == c.chunks - 1
    groups, blocks = (c.last_groups, c.last_blocks) if last else (c.groups, c.blocks)
    taps = c.kernel_rows * c.kernel_columns
    now = ready.after(now, groups * taps * tile.turns * tile.fill)
    left, across = _inside(tile.first_input_column, tile.columns, c.image_columns)
    for _ in range(blocks):
        for row in range(tile.first_row, tile.first_row + tile.rows):
            if 0 <= row < c.image_rows:
                now = ready.after(now + left, across) + tile.columns - left - across
            else:
                now += tile.columns
    return now


def _inside(first: int, count: int, size: int) -> tuple[int, int]:
    """How many of some positions come before an image of a size, and how many are in it."""
    before = min(max(-first, 0), count)
    inside = max(min(first + count, size) - max(first, 0), 0)
    return before, inside


def _compute(c: Configuration, hardware: Hardware, tile: Tile, chunk: int) -> int:
    """Cycles of the array for a chunk."""
    groups = c.last_groups if chunk == c.chunks - 1 else c.groups
    return int(
        sets_of(
            hardware,
            tile.filters,
            groups * hardware.multipliers,
            c.kernel_rows * c.kernel_columns,
            tile.way_lines * tile.line,
            ways=1 << c.ways_log2,
            window=c.window_rows * c.window_columns,
        ).cycles
    )
