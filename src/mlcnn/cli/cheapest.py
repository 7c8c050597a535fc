"""``mlcnn cheapest``: all methods, stacked, under a budget of accuracy and one of time."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

import mlcnn
from mlcnn.cli import INTERRUPTED
from mlcnn.cli.map import parse_seconds
from mlcnn.cli.options import Imaging, Loading, Printing, Training
from mlcnn.cli.output import complain, console, print_json

__all__ = ["Searching", "cheapest"]


@Parameter(name="*", group="Search")
@dataclass(frozen=True, slots=True)
class Searching:
    """What is made small, what may be lost for it, and how long it may take.

    Attributes:
        objective: latency, energy or area (of a machine), size or memory; two with a comma between
            for a front of both.
        max_drop: percentage points of accuracy that may be lost, on the same images.
        budget: time for everything, as 10m or 2h.
        methods: all, or names of `mlcnn list steps` with commas between.
        engine: engine in which latency counts. Repeat it for more; by default all that compute
            integers.
        on: machine that energy is evaluated on, as mlcnn-int8, or your own .yaml file.
        template: machines to be designed for the network, as mlcnn, for energy and area.
        measure_threads: of an engine.
        first: images that the first round of training sees; by default as the budget allows.
        predict: choose what is trained by predictions, or else by a draw.
        workers: local processes, or ray, which needs pip install "mlcnn[ray]". Speed is measured in
            this process in any case; forms of layers are chosen by an estimate with ray, whose
            machines may have another processor.
        processes: that train, on this machine.
        address: of a cluster of Ray that runs, as HOST:PORT or auto; by default Ray is started on
            this machine.
    """

    objective: str = "latency"
    max_drop: float = 1.0
    budget: str = "30m"
    methods: str = "all"
    engine: tuple[Literal["onnxruntime", "openvino", "native"], ...] = ()
    on: str | None = None
    template: str | None = None
    measure_threads: int = 1
    first: int | None = None
    predict: Annotated[bool, Parameter(negative="--no-predict")] = True
    workers: Literal["local", "ray"] = "local"
    processes: int = 1
    address: str | None = None

    def options(self, seed: int, threads: int | None) -> "mlcnn.api.CheapestOptions":
        """The same for the API.

        Args:
            seed: of the training.
            threads: of torch in each process; None for a share of all.

        Raises:
            InputError: the budget is no time.
        """
        return mlcnn.api.CheapestOptions(
            objective=self.objective,
            max_drop=self.max_drop,
            budget_s=parse_seconds(self.budget),
            methods=tuple(name.strip() for name in self.methods.split(",")),
            engines=self.engine,
            on=self.on,
            template=self.template,
            threads=self.measure_threads,
            seed=seed,
            first=self.first,
            predict=self.predict,
            workers=self.workers,
            processes=self.processes,
            address=self.address,
            torch_threads=threads,
        )


@Parameter(name="*", group="Training")
@dataclass(frozen=True, slots=True)
class Teaching:
    """How stacks are trained; how long is decided by the budget.

    Attributes:
        batch_size: images of one step.
        learning_rate: its peak; it falls along half a cosine.
        crop: pixels by which images are shifted at random at most.
        flip: mirror half of the images left to right.
        seed: of everything that is drawn.
        device: cpu, or cuda.
        precision: of convolutions and products; bf16 is quicker where the processor has it.
        threads: of torch on the processor, in each process; all are divided among the processes by
            default.
    """

    batch_size: int | None = None
    learning_rate: Annotated[float | None, Parameter(alias="--lr")] = None
    crop: int | None = None
    flip: Annotated[bool | None, Parameter(negative="--no-flip")] = None
    seed: int = 0
    device: str = "cpu"
    precision: Literal["fp32", "bf16"] = "fp32"
    threads: int | None = None


def cheapest(
    model: str,
    /,
    *,
    data: str | None = None,
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
    fresh: bool = False,
    searching: Searching = Searching(),
    teaching: Teaching = Teaching(),
    imaging: Imaging = Imaging(),
    loading: Loading = Loading(),
    printing: Printing = Printing(),
) -> int:
    """Find the cheapest way to run a trained network within a budget of accuracy.

    First exact passes and engines, then what calibration allows, then training of the most
    promising stacks of methods. The best network so far is in the folder at any time; the same
    command goes on where it was interrupted.

    Args:
        model: zoo name, .onnx or .pt2 file, or package.module:callable, with trained weights.
        data: labelled images, as for `mlcnn train`; without them, methods that need some are left
            out.
        out: folder for the networks, the journal and the report; runs/NAME-cheapest by default.
        fresh: begin anew, whatever is in the folder.
        searching: what is made small, and the budgets.
        teaching: how stacks are trained.
        imaging: how the images go to the network.
        loading: how to load the network.
        printing: what is printed.
    """
    name = mlcnn.api.model_name(model)
    folder = out or Path("runs") / f"{name}-cheapest"
    training = Training(
        batch_size=teaching.batch_size,
        learning_rate=teaching.learning_rate,
        crop=teaching.crop,
        flip=teaching.flip,
        seed=teaching.seed,
        device=teaching.device,
        precision=teaching.precision,
        threads=teaching.threads,
    )
    with training.session("cheapest") as (_, device, tell):
        done = mlcnn.cheapest(
            model,
            data,
            searching.options(teaching.seed, teaching.threads),
            training_options=training.options(mlcnn.api.STACK_RECIPE, device),
            images=imaging.options(),
            folder=folder,
            fresh=fresh,
            weights=loading.weights,
            input_shape=loading.shape,
            progress=tell,
            notice=complain,
        )
    if printing.json:
        print_json({"output": str(folder), **done.to_json()})
    else:
        lines = [*map(mlcnn.api.printable, done.shown().text().split("\n"))]
        lines += [f"to make it again: {done.outcome.replay}"] if done.outcome.replay else []
        lines.append(f"written: {folder}, report.html among it")
        console().print("\n".join(lines), markup=False, soft_wrap=True)
    return INTERRUPTED if done.outcome.interrupted else 0
