"""``mlcnn rtl``: the accelerator as hardware."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

import mlcnn
from mlcnn.cli.options import Imaging, Loading, Printing
from mlcnn.cli.output import print_json, progress, show

__all__ = ["rtl"]

_HARDWARE = Parameter(group="Hardware")
_FAILED = 1

rtl = App(name="rtl", help="The accelerator as hardware.")


@rtl.command
def simulate(
    model: str,
    /,
    *,
    on: Annotated[str, _HARDWARE] = "mlcnn-int8",
    slices: Annotated[int, _HARDWARE] = 16,
    ways: Annotated[int, _HARDWARE] = 2,
    images: int = 10,
    stalls: Annotated[int, _HARDWARE] = 0,
    seed: Annotated[int, _HARDWARE] = 0,
    waves: str | None = None,
    data: Path | None = None,
    imaging: Imaging = Imaging(),
    loading: Loading = Loading(),
    printing: Printing = Printing(),
) -> int:
    """Run images through the simulated hardware and compare every code and cycle with the models.

    Args:
        model: a quantised network, as mlcnn quantize writes it; or a zoo name, which is quantised
            for it.
        on: machine, mlcnn-int8 or dcnn-int8, which has no box adders; or your own .yaml file.
        slices: that are built, 8, 16, 32 or 64.
        ways: positions that different slices can work on, a power of two.
        images: how many run.
        stalls: percent of the cycles in which the memory takes no command, at random.
        seed: of these.
        waves: number of an image and name of a layer, as 3:conv2, whose signals go to a .vcd file.
        data: labelled images, as for `mlcnn quantize`; by default those of the package, for a zoo
            network that was trained on such.
        imaging: how the images go to the network.
        loading: how to load the network.
        printing: what is printed.
    """
    options = mlcnn.RtlOptions(on, images, stalls, seed, slices, ways, waves)
    with progress() as tell:
        result = mlcnn.simulate_rtl(
            model,
            data,
            options,
            images=imaging.options(),
            weights=loading.weights,
            input_shape=loading.shape,
            progress=tell,
        )
    if printing.json:
        print_json(result.to_json())
    else:
        show(repr(result))
    return 0 if result.ok else _FAILED
