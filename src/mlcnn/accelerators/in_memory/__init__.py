"""An engine of memory sub-arrays that compute on their bit lines.

Windows of inputs and filters lie in rows of the same columns, a row for each bit plane. Two rows
that are sensed together give the AND of all their columns; counters of segments of the columns sum
up its ones, which are shifted by the weights of the two planes and accumulated. What the least
weight adds is the sum of a window's numbers, counted while the window is written.

A window that is longer than a row lies in slices, in several rows of a sub-array or in several
sub-arrays. Where it is shorter, several windows lie side by side, with as many copies of each
filter, or several filters with copies of each window. Rows of filters stay and windows pass, or the
other way round; filters and windows are spread over sub-arrays, and each copy is written there.
Every mapping of these kinds is tried, and the fastest taken.

Sub-arrays work in step: all write rows, as the bus brings them, then all sense pairs of rows, and
sums leave meanwhile. Bus and output unit pass what every sub-array has room for in a step, in use
or not. DRAM fills the buffer behind all this. An average pool behind a convolution runs as windows
of box sums, of log2 of the pool's area more bits, at the positions behind the pool.

Where columns have latches (``compares``), comparator layers run as a second program. A row holds a
bit plane of neighbouring channels at one place of several strips of the output, side by side, so
that the two taps of a pair lie in rows of the same columns. A comparison goes plane by plane, the
highest first: rows of both taps are sensed together for their XOR, then the first tap's row is
ANDed with what the latch says of where they differ for the first time. Its bits leave for the
buffer, and there they are the inputs, of one bit, of a point-wise layer by AND and count. Channels
that have different pairs never share a row: with pairs of their own a row holds one channel, of as
many strips as columns, and what strips have in common is written more often. Strips slide down
over rows of inputs that are overwritten when no window needs them any more.

Sources: AND and count of bit planes are exact (He, Angizi, Fan, ISVLSI 2018, as its abstract has
it). Our assumptions, none of them from a publication: the mapping, the schedule, two rows in one
sense cycle, segments, thresholds by halving, an SRAM buffer in front. Of [CMP-PIM] (DAC 2018) only
an abstract is public: the whole second program is our reconstruction, XOR of two rows in one sense
cycle, latches and layout included. Cells are NVSim's, adders and registers those of the technology.

Not modelled: control, wires, the driver of a second word line, errors of sensing, weights that stay
in the sub-arrays from one batch to the next.
"""

from mlcnn.accelerators.in_memory.cells import CellTable, SubArray, cell_names, load_cells
from mlcnn.accelerators.in_memory.description import EngineDescription
from mlcnn.accelerators.in_memory.energy import EngineArea, engine_area
from mlcnn.accelerators.in_memory.file import InMemoryFile, load_engine
from mlcnn.accelerators.in_memory.machine import InMemoryEngine, sweep

__all__ = [
    "CellTable",
    "EngineArea",
    "EngineDescription",
    "InMemoryEngine",
    "InMemoryFile",
    "SubArray",
    "cell_names",
    "engine_area",
    "load_cells",
    "load_engine",
    "sweep",
]
