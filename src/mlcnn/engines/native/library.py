"""The kernels, compiled for this machine by its C compiler, once."""

import ctypes
import functools
from collections.abc import Mapping
from enum import IntEnum
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlcnn.engines.compiled import Build, compiled, target_flag
from mlcnn.errors import UnsupportedError

__all__ = [
    "BEST_COUNTS", "FLAGS", "Binary", "Finish", "Function", "Library", "Map", "MapReduction", "Op",
    "Place", "Pool", "Reduce", "Step", "Sums", "load",
]  # fmt: skip

# Contractions are wanted (fused multiply-add); other liberties of -ffast-math are not, and linking
# with it would change how the whole process rounds.
FLAGS = (
    *("-O2", "-fpeel-loops", "-std=gnu11"),
    *("-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"),
)
"""By which the kernels are compiled, here and where a network is deployed."""
BEST_COUNTS = 2
"""Of ``Library.counts``."""
_NO_ASSEMBLY = "-DNO_ASSEMBLY"
_OPTIONS = (("-fopenmp",), (), ("-fopenmp", _NO_ASSEMBLY), (_NO_ASSEMBLY,))


class Op(IntEnum):
    """The kernels, in the order of ``step.h``."""

    CONV = 0
    DEPTHWISE = 1
    POOL = 2
    MAP = 3
    BINARY = 4
    BORDER = 5
    PACK = 6
    UNPACK = 7
    WINOGRAD = 8
    CODES_CONV = 9
    CODES_POOL = 10
    QUANTISE = 11
    DEQUANTISE = 12
    RECODE = 13
    SUMS = 14
    ROWS = 15
    MIX = 16
    SPARSE = 17
    LIST = 18
    KEEP = 19
    MAPS = 20
    REDUCE = 21
    REDUCE_IMAGES = 22
    WHEN = 23
    IMAGES = 24
    MOVE_IMAGES = 25
    END = 26
    BITS = 27
    TABLE = 28
    SELECT = 29
    ROUND = 30
    CODES_DEPTHWISE = 31
    COMPARE = 32
    COMPARE_AND_ADD = 33


class Pool(IntEnum):
    """Modes of ``POOL``; whether an average counts the padding."""

    MAX = 0
    AVERAGE = 1
    AVERAGE_PADDED = 2


class Map(IntEnum):
    """Modes of ``MAPS``, in the order of ``maps.h``."""

    FLAGS = 0
    FILL = 1
    SUM = 2
    APART = 3
    PAIR = 4
    REDUCE = 5
    MAX_POOL = 6
    MEAN_POOL = 7
    PLACE = 8
    SQRT = 9


class MapReduction(IntEnum):
    """Functions of ``Map.REDUCE``."""

    MAX = 0
    MEAN = 1
    SUM = 2


class Function(IntEnum):
    """What a kernel applies to its results; ``CLIP`` where they are only bounded."""

    CLIP = 0
    LEAKY = 1
    SIGMOID = 2
    TANH = 3
    SILU = 4
    HARD_SWISH = 5
    GELU = 6
    ELU = 7
    EXP = 8
    ERF = 9
    SQRT = 10
    ABS = 11


class Binary(IntEnum):
    """Modes of ``BINARY``, and functions of ``Map.PAIR``, which alone has comparisons."""

    ADD = 0
    SUB = 1
    MUL = 2
    DIV = 3
    MAX = 4
    MIN = 5
    LESS = 6
    AT_MOST = 7
    EQUAL = 8
    AT_LEAST = 9
    UNEQUAL = 10


class Reduce(IntEnum):
    """Modes of ``REDUCE`` and ``REDUCE_IMAGES``."""

    MAX = 0
    MIN = 1
    SUM = 2
    SOFTMAX = 3


class Sums(IntEnum):
    """Modes of ``SUMS``: sums of 16 bits or of bytes, or means rounded to codes."""

    SHORTS = 0
    ROUNDED_MEANS = 1
    BYTES = 2


class Finish(IntEnum):
    """What becomes of a sum of codes."""

    CODES = 0
    SHIFTED_CODES = 1
    FLOATS = 2


class Place(ctypes.Structure):
    """Where a value lies: offset and strides in floats."""

    _fields_ = [(name, ctypes.c_int64) for name in ("at", "image", "plane", "row", "column")]


class Step(ctypes.Structure):
    """One call of a kernel, as ``step.h`` declares it."""

    _fields_ = [
        *[(name, ctypes.c_int64) for name in ("op", "mode", "images", "blocks", "filters")],
        *[(name, Place) for name in ("x", "y", "z", "scratch", "mask", "rounded")],
        *[
            (name, ctypes.c_int64)
            for name in (
                *("weights", "biases", "lanes", "zeros"),
                *("kernel_rows", "kernel_columns", "stride_rows", "stride_columns"),
                *("dilation_rows", "dilation_columns", "input_rows", "input_columns"),
                *("top", "left", "bottom", "right", "rows", "columns"),
                *("chunk", "bunch", "across", "buffer", "paired"),
                *("groups", "group_weights", "together"),
                *("pitch", "bases", "outputs", "basis", "starts", "entries", "least"),
                *("each", "until", "function"),
                *("scales", "zero", "zero_y", "zero_z"),
                *("finish", "shifts"),
                *("weight_bits", "input_bits", "base", "high_code", "factor", "offset"),
            )
        ],
        *[
            (name, ctypes.c_float)
            for name in ("low", "high", "alpha", "ratio", "ratio_z", "low_y", "high_y")
        ],
    ]


class Library:
    """The compiled kernels.

    Attributes:
        path: its file, whose name tells kernels, compiler, options and processor.
        block: channels of a block, the floats of one vector.
        group: blocks of filters that a convolution computes together.
        narrow: channels of the blocks of another compilation, whose vectors are half as wide and
            as many at a time; None where there is none.
        parallel: whether they compute with more than one thread.
        vnni: whether products of codes are summed by one instruction.
        counts: how ones in words are counted: 2 by one instruction, 1 by a table, 0 word by
            word.
        assembly: whether the compiler took the assembly that keeps weights in registers.
        comparators: whether comparisons and a layer of their bits are one kernel.
        mixes: the small matrices that are compiled in, by their number.
        most_parts: rows and columns of any other.
    """

    def __init__(self, path: Path) -> None:
        """Load a compiled library."""
        library = ctypes.CDLL(str(path))
        if not library.mlcnn_runs_here():
            raise UnsupportedError(
                f"engine 'native': this processor lacks instructions that {path.name} was compiled "
                "for; give a march that it has, as native"
            )
        self.path = path
        self.block: int = library.mlcnn_block()
        self.group: int = library.mlcnn_group()
        self.narrow: int | None = library.mlcnn_narrow() or None
        self.parallel = bool(library.mlcnn_parallel())
        self.vnni, self.assembly = bool(library.mlcnn_vnni()), bool(library.mlcnn_assembly())
        if library.mlcnn_step() != ctypes.sizeof(Step):
            raise UnsupportedError(f"engine 'native': {path} is not this version's; delete it")
        self.mixes = [_mix(library, kind) for kind in range(library.mlcnn_mixes())]
        self.most_parts: int = library.mlcnn_most_parts()
        self.run = library.mlcnn_run
        self._scratch = library.mlcnn_scratch
        self._scratch.argtypes = (ctypes.c_int64,) * 4
        self._scratch.restype = ctypes.c_int64
        pointer = ctypes.c_void_p
        self._sparse_scratch = library.mlcnn_sparse_scratch
        self._sparse_length = library.mlcnn_sparse_length
        self.tables: int = library.mlcnn_tables()
        self.counts: int = library.mlcnn_counts()
        self._bits_scratch = library.mlcnn_bits_scratch
        self._bits_scratch.argtypes = pointer, ctypes.c_int64
        self._bits_scratch.restype = ctypes.c_int64
        self._list_scratch = library.mlcnn_list_scratch
        self.comparators = bool(library.mlcnn_comparators())
        self._compared_scratch = library.mlcnn_comparators_scratch
        for function in (
            self._sparse_scratch, self._sparse_length, self._list_scratch, self._compared_scratch,
        ):  # fmt: skip
            function.argtypes, function.restype = (pointer,), ctypes.c_int64
        self._room = library.mlcnn_room
        self._room.argtypes, self._room.restype = (pointer, pointer), ctypes.c_int64
        self._sink = np.zeros(1, np.float32)
        self._multiply, self._read = library.mlcnn_multiply, library.mlcnn_read
        self._count_bits, self._look_up = library.mlcnn_count_bits, library.mlcnn_look_up
        for function in (self._multiply, self._count_bits, self._look_up):
            function.argtypes, function.restype = (ctypes.c_int64, pointer), ctypes.c_int64
        self._read.argtypes, self._read.restype = (pointer, ctypes.c_int64, pointer), None
        self.run.argtypes = (pointer, ctypes.c_int64, pointer, pointer, pointer, ctypes.c_int)
        self.run.restype = None

    def multiply(self, rounds: int) -> int:
        """Multiply-adds in registers, so many a round; returns their number."""
        return self._multiply(rounds, self._sink.ctypes.data)

    def count_bits(self, rounds: int) -> int:
        """Products of bits, counted in registers, so many a round; returns their number."""
        return self._count_bits(rounds, self._sink.ctypes.data)

    def look_up(self, rounds: int) -> int:
        """Sums of bytes that shuffles look up in registers; returns their number, 0 without any."""
        return self._look_up(rounds, self._sink.ctypes.data)

    def read(self, floats: NDArray[np.float32]) -> None:
        """Read every number once, in the order of memory."""
        self._read(floats.ctypes.data, floats.size, self._sink.ctypes.data)

    def scratch(self, kind: int, blocks: int, filters: int, bunch: int) -> int:
        """Floats of scratch memory of a Winograd convolution.

        Args:
            kind: the transform.
            blocks: of the input.
            filters: blocks of them.
            bunch: tiles at a time.
        """
        return self._scratch(kind, blocks, filters, bunch)

    def sparse(self, fields: Mapping[str, int | float]) -> tuple[int, int]:
        """Floats of scratch memory of a convolution that skips zeros, and vectors of a copy.

        Args:
            fields: of its step, by their names.
        """
        step = Step(**fields)
        address = ctypes.addressof(step)
        return self._sparse_scratch(address), self._sparse_length(address)

    def lists(self, fields: Mapping[str, int | float]) -> int:
        """Floats of scratch memory of a convolution at listed positions.

        Args:
            fields: of its step, by their names.
        """
        step = Step(**fields)
        return self._list_scratch(ctypes.addressof(step))

    def bits(self, fields: Mapping[str, int | float], channels: int) -> int:
        """Floats of scratch memory of a convolution of few bits.

        Args:
            fields: of its step, by their names.
            channels: of its input.
        """
        step = Step(**fields)
        return self._bits_scratch(ctypes.addressof(step), channels)

    def room(self, step: Step, constants: NDArray[np.float32]) -> int:
        """Bytes that a thread allocates while a step runs.

        Args:
            step: the step.
            constants: of its program.
        """
        return self._room(ctypes.addressof(step), constants.ctypes.data)

    def compared(self, fields: Mapping[str, int | float]) -> int:
        """Floats of scratch memory of comparisons with a layer of their bits.

        Args:
            fields: of its step, by their names.
        """
        step = Step(**fields)
        return self._compared_scratch(ctypes.addressof(step))


def _mix(library: ctypes.CDLL, kind: int) -> NDArray[np.float32]:
    """The matrix of a mix that is compiled in."""
    matrix = np.zeros((library.mlcnn_mix_rows(kind), library.mlcnn_mix_columns(kind)), np.float32)
    library.mlcnn_mix_matrix(kind, ctypes.c_void_p(matrix.ctypes.data))
    return matrix


@functools.cache
def load(march: str = "native", block: int | None = None) -> Library:
    """The kernels for this machine; compiled where they are not in the cache yet (seconds).

    Args:
        march: the processor to compile for, as gcc names it; one that this machine can run.
        block: channels of a block; by default the floats of the widest vector.

    Raises:
        UnsupportedError: there is no C compiler, or it fails.
    """
    folder = Path(str(files("mlcnn.engines.native") / "kernels"))
    flags = [*FLAGS, target_flag(march)]
    if block is not None:
        flags.insert(0, f"-DBLOCK={block}")
    build = Build("kernels", folder / "kernels.c", tuple(flags), _OPTIONS)
    return Library(compiled(build, "engine 'native'", "use engine 'onnxruntime'"))
