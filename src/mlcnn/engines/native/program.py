"""Values in blocks of channels, the steps between them, and the memory that they share."""

import copy
import ctypes
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from mlcnn.engines.native.library import Library, Op, Place, Step

__all__ = [
    "Call",
    "Codes",
    "Constant",
    "Floats",
    "Operation",
    "Part",
    "Program",
    "Value",
    "standard_lanes",
]

_ALIGNMENT = 64
_SLACK = 4096  # floats behind the last value: prefetches and borders may reach there

Floats = NDArray[np.float32]
Codes = NDArray[np.int8]
Constant = NDArray[np.float32 | np.int8 | np.int16 | np.int32]


def standard_lanes(channels: int, block: int) -> tuple[int, ...]:
    """Channels in each block, where all blocks but the last are full."""
    full, rest = divmod(channels, block)
    return (block,) * full + ((rest,) if rest else ())


@dataclass(eq=False, slots=True)
class Value:
    """Images in blocks of channels: (image, block, row, column, lane).

    A value that is only read by a concatenation lies inside the concatenation's value.

    Attributes:
        images: number of images.
        lanes: channels in each block; the other lanes hold anything.
        rows: rows of an image.
        columns: columns of an image.
        border: zeros above, left, below and right, as those who read it need them.
        item_bytes: of a number: 4 of a float, 1 of a code, 2 of a sum of codes.
        zero: the code that stands for zero.
        whole: the value that this one is a part of, if it is.
        block: its first block there.
        dense: a position is one number and a block one channel, for a direct convolution to read.
    """

    images: int
    lanes: tuple[int, ...]
    rows: int = 1
    columns: int = 1
    border: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    whole: "Value | None" = None
    block: int = 0
    dense: bool = False
    item_bytes: int = 4
    zero: int = 0

    @property
    def channels(self) -> int:
        """Number of channels."""
        return sum(self.lanes)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(images, channels, rows, columns)."""
        return self.images, self.channels, self.rows, self.columns

    def root(self) -> tuple["Value", int]:
        """The value in memory that this one lies in, and its first block there."""
        value, block = self, 0
        while value.whole is not None:
            block += value.block
            value = value.whole
        return value, block

    def widen(self, border: Sequence[int]) -> None:
        """Ask for a border of zeros at least so wide: above, left, below, right."""
        self.border = [max(pair) for pair in zip(self.border, border, strict=True)]


@dataclass(frozen=True, slots=True)
class Part:
    """What an operation reads or writes of a value.

    Attributes:
        value: the value.
        block: its first block.
        row: its first row; negative in the border.
        column: its first column.
        row_step: rows from one to the next; 0 repeats the first.
        column_step: columns from one to the next.
    """

    value: Value
    block: int = 0
    row: int = 0
    column: int = 0
    row_step: int = 1
    column_step: int = 1


@dataclass(eq=False, slots=True)
class Operation:
    """One step before memory is planned.

    Attributes:
        op: the kernel.
        x: what it reads, if it reads a value.
        y: what it writes, if it writes a value.
        z: a second value that it reads.
        mask: which positions it computes, if it does not compute all of them.
        rounded: codes that it writes beside y, of floats.
        fields: by name of ``Step``; places left out.
        constants: arrays that go to the constants, by the field that takes their offset.
        scratch: memory that only it uses.
        strides: of z, where it is a dense array: image, channel, row, column.
        before: a pool that computes what this one reads, plane by plane: the first of a pair.
            Then x is what that one reads.
        inner: operations that run with this one, some images at a time; it is the last.
        opens: what is there from here on, though what is behind it may not run.
    """

    op: Op
    x: Part | None = None
    y: Part | None = None
    z: Part | None = None
    fields: dict[str, int | float] = field(default_factory=dict[str, int | float])
    constants: dict[str, Constant] = field(default_factory=dict[str, Constant])
    scratch: Part | None = None
    mask: Part | None = None
    rounded: Part | None = None
    strides: tuple[int, int, int, int] | None = None
    before: "Operation | None" = None
    inner: tuple["Operation", ...] = ()
    opens: tuple[Part, ...] = ()

    def parts(self) -> Iterator[Part]:
        """What it reads and writes, those that run with it too."""
        for operation in self.inner:
            yield from operation.parts()
        parts = self.x, self.y, self.z, self.scratch, self.mask, self.rounded, *self.opens
        yield from (part for part in parts if part is not None)


def _aligned(floats: int) -> Floats:
    """Zeros whose first float begins a cache line."""
    raw = np.zeros(floats + _ALIGNMENT // 4, np.float32)
    skipped = -raw.ctypes.data % _ALIGNMENT // 4
    return raw[skipped : skipped + floats]


class _Memory:
    """Offsets of values in one block of memory: first fit, while a value is in use.

    Attributes:
        single: values of which only one image is in memory at a time.
    """

    def __init__(self, operations: Sequence[Operation], block: int, apart: int) -> None:
        self._block = block
        self.first: dict[Value, int] = {}
        last: dict[Value, int] = {}
        for index, operation in enumerate(operations):
            for part in operation.parts():
                root, _ = part.value.root()
                self.first.setdefault(root, index)
                last[root] = index
                if part.value is not root:
                    root.widen(part.value.border)
        # What goes on from the operations that compute image by image is there for all of them.
        self.single = {root for root, index in last.items() if index < apart}
        for root in self.first.keys() - self.single:
            if self.first[root] < apart:
                self.first[root] = 0
        self.offsets: dict[Value, int] = {}
        self.floats = 0
        live: list[Value] = []
        for index in range(len(operations)):
            for root in [root for root, first in self.first.items() if first == index]:
                self._place(root, live)
                live.append(root)
            live = [root for root in live if last[root] > index]

    def _place(self, root: Value, live: Sequence[Value]) -> None:
        size, offset = self.size(root), 0
        for taken in sorted(live, key=self.offsets.__getitem__):
            if offset + size <= self.offsets[taken]:
                break
            offset = max(offset, self.offsets[taken] + self.size(taken))
        self.offsets[root] = offset
        self.floats = max(self.floats, offset + size)

    def column(self, root: Value) -> int:
        """Floats from position to position."""
        return 1 if root.dense else self._block * root.item_bytes // 4

    def strides(self, root: Value) -> tuple[int, int, int]:
        """Floats from image to image, block to block and row to row."""
        top, left, bottom, right = root.border
        row = (left + root.columns + right) * self.column(root)
        plane = (top + root.rows + bottom) * row
        return plane * len(root.lanes), plane, row

    def size(self, root: Value) -> int:
        """Floats of a value, in whole cache lines."""
        floats = (1 if root in self.single else root.images) * self.strides(root)[0]
        return -(-floats * 4 // _ALIGNMENT) * _ALIGNMENT // 4

    def place(self, part: Part) -> Place:
        """Where a part lies."""
        root, block = part.value.root()
        image, plane, row = self.strides(root)
        top, left, _, _ = root.border
        at = self.offsets[root] + (block + part.block) * plane
        at += (top + part.row) * row + (left + part.column) * self.column(root)
        image = 0 if root in self.single else image
        return Place(at, image, plane, row * part.row_step, self.column(root) * part.column_step)


class Program:
    """Steps in memory, ready to run.

    Attributes:
        memory: of all values.
        constants: of all steps; equal ones are there once.
    """

    def __init__(self, operations: Sequence[Operation], library: Library, apart: int = 0) -> None:
        """Plan the memory.

        Args:
            operations: in the order of running.
            library: the kernels.
            apart: so many operations, from the first on, compute image by image.
        """
        self._library = library
        memory = _Memory(operations, library.block, apart)
        constants = _Constants()
        bordered: set[Value] = set()
        made = [_steps(operation, memory, constants, bordered) for operation in operations]
        _close(made)
        images = int(operations[0].fields["images"]) if apart else 0
        steps = [
            *(
                _of_image(step, image)
                for image in range(images)
                for s in made[:apart]
                for step in s
            ),
            *(step for s in made[apart:] for step in s),
        ]
        self._steps = (Step * len(steps))(*steps)
        self.memory = _aligned(memory.floats + _SLACK)
        self.constants = constants.array()

    def call(self, buffers: Sequence[NDArray[np.float32 | np.bool_]], threads: int) -> "Call":
        """The program with the arrays that it reads and writes."""
        pointers = (ctypes.c_void_p * len(buffers))(*(buffer.ctypes.data for buffer in buffers))
        return self.at(pointers, threads, buffers)

    def at(
        self, pointers: ctypes.Array[ctypes.c_void_p], threads: int, kept: object = ()
    ) -> "Call":
        """The program with the addresses of the arrays, read at each call; ``kept`` lives on."""
        steps, memory, constants = self._steps, self.memory, self.constants
        arguments = (
            *(ctypes.addressof(steps), len(steps), memory.ctypes.data, constants.ctypes.data),
            *(ctypes.addressof(pointers), threads),
        )
        return Call(self._library.run, arguments, (steps, memory, constants, pointers, kept))

    def twin(self) -> "Program":
        """The same steps and constants with a memory of their own: for another thread."""
        made = copy.copy(self)
        made.memory = _aligned(self.memory.size)
        return made


class Call:
    """Runs a program; keeps alive what it reads and writes."""

    def __init__(self, run: Callable[..., None], arguments: Sequence[object], kept: object) -> None:
        """Keep a call of the library's, and what its pointers point to."""
        self._run, self._arguments, self._kept = run, tuple(arguments), kept

    def __call__(self) -> None:
        """Run once."""
        self._run(*self._arguments)


class _Constants:
    """Arrays side by side, each from a cache line on; those that are equal lie there once."""

    def __init__(self) -> None:
        self._arrays: list[Floats] = []
        self._places: dict[bytes, list[tuple[Floats, int]]] = {}
        self._floats = 0

    def add(self, array: Constant) -> int:
        """Put an array behind the others, if it is not there yet, and tell its offset."""
        floats = np.ascontiguousarray(array).reshape(-1).view(np.float32)
        alike = self._places.setdefault(floats[:_ALIGNMENT].tobytes(), [])
        for other, offset in alike:
            if np.array_equal(other.view(np.int32), floats.view(np.int32)):
                return offset
        offset = self._floats
        alike.append((floats, offset))
        self._arrays.append(floats)
        self._floats += -(-floats.size // (_ALIGNMENT // 4)) * (_ALIGNMENT // 4)
        return offset

    def array(self) -> Floats:
        """All of them."""
        whole, offset = _aligned(self._floats + _SLACK), 0
        for array in self._arrays:
            whole[offset : offset + array.size] = array
            offset += -(-array.size // (_ALIGNMENT // 4)) * (_ALIGNMENT // 4)
        self._arrays.clear()
        self._places.clear()
        return whole


def _steps(
    operation: Operation, memory: _Memory, constants: _Constants, bordered: set[Value]
) -> list[Step]:
    """An operation for all images, behind the borders of values that are used from here on."""
    steps: list[Step] = []
    for part in operation.parts():
        root, _ = part.value.root()
        if any(root.border) and root not in bordered:
            bordered.add(root)
            steps.append(_border(root, memory, operation))
    if operation.before is not None:
        fields = {**operation.before.fields, "paired": 1}
        steps.append(_step(replace(operation.before, y=None, fields=fields), memory, constants))
    steps.extend(_step(each, memory, constants) for each in (*operation.inner, operation))
    return steps


def _of_image(step: Step, image: int) -> Step:
    """The same for one image alone."""
    made = Step.from_buffer_copy(step)
    made.images, made.across = 1, 0
    for place in (made.x, made.y, made.z, made.mask):
        place.at += image * place.image
    return made


def _step(operation: Operation, memory: _Memory, constants: _Constants) -> Step:
    step = Step(op=operation.op, buffer=-1, high=float("inf"), low=-float("inf"))
    step.z.at = step.rounded.at = -1
    for name, part in (
        *(("x", operation.x), ("y", operation.y), ("z", operation.z)),
        *(("scratch", operation.scratch), ("mask", operation.mask)),
        ("rounded", operation.rounded),
    ):
        if part is not None:
            setattr(step, name, memory.place(part))
    if operation.strides is not None:
        at = 0 if operation.z is None else step.z.at
        step.z = Place(at, *operation.strides)
    fields: Mapping[str, int | float] = operation.fields
    for name, number in fields.items():
        setattr(step, name, number)
    for name, array in operation.constants.items():
        setattr(step, name, constants.add(array))
    return step


def _close(made: Sequence[Sequence[Step]]) -> None:
    """Tell each step that others depend on how many they are, up to its ``END``."""
    opened: list[tuple[int, Step]] = []
    for index, step in enumerate(step for steps in made for step in steps):
        if step.op in {Op.WHEN, Op.IMAGES}:
            opened.append((index, step))
        elif step.op == Op.END:
            first, begin = opened.pop()
            begin.until = index - first


def _border(root: Value, memory: _Memory, operation: Operation) -> Step:
    top, left, bottom, right = root.border
    each = int(operation.fields.get("each", 0))
    return Step(
        op=Op.BORDER, images=root.images, blocks=len(root.lanes), y=memory.place(Part(root)),
        rows=root.rows, columns=root.columns, top=top, left=left, bottom=bottom, right=right,
        zero_y=root.zero, each=each and root.images * each // int(operation.fields["images"]),
    )  # fmt: skip
