"""The options that commands share, as groups."""

from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

import mlcnn
from mlcnn.cli.output import progress
from mlcnn.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from mlcnn.api import (
        EvaluateOptions,
        ImageOptions,
        MeasureOptions,
        RewriteOptions,
        TrainOptions,
    )
    from mlcnn.training import Processes, Recipe

__all__ = [
    "Against",
    "Imaging",
    "Loading",
    "Measuring",
    "MeasuringTrained",
    "Printing",
    "Rewriting",
    "Training",
    "parse_shape",
]

Engine = Literal["onnxruntime", "openvino", "native", "torch", "torch-compile"]


def parse_shape(text: str) -> tuple[int, ...]:
    """The sizes in a text like ``1x3x224x224``.

    Raises:
        InputError: if it isn't positive numbers with an x between.
    """
    parts = text.lower().split("x")
    if not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        raise InputError(
            f"--input-shape {text}: positive numbers with an x between are required, "
            "batch first, as 1x3x224x224"
        )
    return tuple(int(part) for part in parts)


@Parameter(name="*", group="Network")
@dataclass(frozen=True, slots=True)
class Loading:
    """How to load the network.

    Attributes:
        input_shape: shape of the input, batch first, as 1x3x224x224. A callable that returns no
            example input needs it, where no images tell; for a file it fixes dynamic sizes.
        weights: .npz, .safetensors or .pth of weights by parameter name, for a zoo network, one of
            a source as timm:resnet50, or package.module:callable.
    """

    input_shape: str | None = None
    weights: Path | None = None

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The input shape as numbers, or None."""
        return None if self.input_shape is None else parse_shape(self.input_shape)


@Parameter(name="*", group="Rewrite")
@dataclass(frozen=True, slots=True)
class Rewriting:
    """Which passes run, where, and in which form.

    Attributes:
        passes: pipeline as text, as "fold-batch-norm,reorder,fuse{form=box}", or an alias: exact,
            mlcnn. Without it a zoo network gets mlcnn and your own network exact.
        approximate: also run the passes that need fine-tuning (the alias mlcnn).
        form: how fused sites compute, box, box-depthwise, expanded, pool-first, matvec or matmul;
            auto takes the best for each site, or leaves it as it is.
        window: what an average pool in place of a max pool averages, the max pool's window (keep)
            or one as large as the stride.
        only: name of a layer; touch only sites with one of these. Repeat it for more.
        exclude: name of a layer; leave sites with one of these alone. Repeat it for more.
        all_: replace all max pools, also where nothing is gained.
        set_: pass.option=value, one option of a pass of the pipeline. Repeat it for more.
    """

    passes: str | None = None
    approximate: bool = False
    form: str | None = None
    window: Literal["keep", "stride"] | None = None
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    all_: Annotated[bool, Parameter(name="--all")] = False
    set_: Annotated[tuple[str, ...], Parameter(name="--set")] = ()

    def options(self) -> "RewriteOptions":
        """The same for the API.

        Raises:
            InputError: the options contradict each other.
        """
        if self.approximate and self.passes is not None:
            raise InputError(
                "--approximate stands for --passes mlcnn, and --passes was given too: give one"
            )
        return mlcnn.api.RewriteOptions(
            passes="mlcnn" if self.approximate else self.passes,
            form=self.form,
            window=self.window,
            only=self.only,
            exclude=self.exclude,
            everywhere=self.all_,
            settings=self.set_,
        )


@Parameter(name="*", group="Measurement")
@dataclass(frozen=True, slots=True)
class Measuring:
    """On what to measure.

    Attributes:
        engine: engine to measure. Repeat it for more; by default all that are installed but
            torch-compile, which takes minutes on a large network.
        provider: execution provider of ONNX Runtime, as CPUExecutionProvider.
        algorithm: how the engine native computes convolutions: measured (the default), auto (by a
            model of this machine), direct, winograd, sparse (zeros skipped), bits (planes or tables
            of few bits), or a file that --json wrote, to repeat it.
        precision: fp32 or int8; by default what the network says. int8 needs a quantised network;
            of one, native computes fp32 too: what its codes stand for, in float32.
        threads: threads of one run; 1 by default.
        batch: images of one run. Repeat it for more; 1, or what the network is fixed to, by
            default.
        device: where the engines run.
        seconds: time of measuring per engine and batch size; more helps on a noisy machine.
        seed: of the random inputs.
    """

    engine: tuple[Engine, ...] = ()
    provider: str | None = None
    algorithm: str | None = None
    precision: Literal["fp32", "int8"] | None = None
    threads: int | None = None
    batch: tuple[int, ...] = ()
    device: Literal["cpu", "cuda"] = "cpu"
    seconds: float = 2.0
    seed: int = 0

    def options(self, *, chosen: bool = True) -> "MeasureOptions":
        """The same for the API.

        Args:
            chosen: whether forms are chosen by measured time.
        """
        return mlcnn.api.MeasureOptions(
            engines=self.engine,
            provider=self.provider,
            algorithm=self.algorithm,
            precision=self.precision,
            threads=1 if self.threads is None else self.threads,
            batches=self.batch,
            device=self.device,
            seed=self.seed,
            budget_s=self.seconds,
            chosen=chosen,
        )


@Parameter(name="*", group="Measurement")
@dataclass(frozen=True, slots=True)
class MeasuringTrained(Measuring):
    """The same beside a training, to which --precision, --threads, --device and --seed belong."""

    precision: Annotated[
        Literal["fp32", "int8"] | None,
        Parameter(name="--measure-precision", help="fp32 or int8, of the engines."),
    ] = None
    threads: Annotated[
        int | None,
        Parameter(name="--measure-threads", help="threads of one run of an engine; 1 by default."),
    ] = None
    device: Annotated[
        Literal["cpu", "cuda"],
        Parameter(name="--measure-device", help="where the engines run."),
    ] = "cpu"
    seed: Annotated[
        int, Parameter(name="--measure-seed", help="of the random inputs of the engines.")
    ] = 0


@Parameter(name="*", group="Accelerator")
@dataclass(frozen=True, slots=True)
class Against:
    """What an accelerator is compared with, and by which tables.

    Attributes:
        against: accelerator to compare with, as dcnn-fp32 or winograd-f4-fp32, or your own .yaml
            file; for evaluate also a network, which then runs on the same machine, unrewritten.
        technology: energy and area tables, as horowitz-45nm+cacti-45nm-lop+hbm2 (the default) or
            some of its parts, or your own .yaml file.
    """

    against: str = "dcnn-fp32"
    technology: str | None = None

    def options(self, on: tuple[str, ...], batch: int | None) -> "EvaluateOptions":
        """The same for the API.

        Args:
            on: the accelerators asked about.
            batch: images.
        """
        return mlcnn.api.EvaluateOptions(on, self.against, self.technology, batch)


@Parameter(name="*", group="Images")
@dataclass(frozen=True, slots=True)
class Imaging:
    """How the images are read and go to the network.

    Attributes:
        resize: height and width that image files are brought to, as 32x32.
        mean: of each channel, of images in 0..1, as 0.485,0.456,0.406; a network's own by default
            where it is known, of the zoo or a source; otherwise none.
        std: standard deviation of each channel, likewise.
        scale: factor of the images of the file; 1/255 by default for bytes.
    """

    resize: str | None = None
    mean: str | None = None
    std: str | None = None
    scale: float | None = None

    def options(self) -> "ImageOptions":
        """The same for the API.

        Raises:
            InputError: a text is not what it should be.
        """
        return mlcnn.api.ImageOptions(
            resize=None if self.resize is None else _size(self.resize),
            mean=_numbers("--mean", self.mean),
            std=_numbers("--std", self.std),
            scale=self.scale,
        )


def _size(text: str) -> tuple[int, int]:
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise InputError(f"--resize {text}: height and width are required, as 32x32")
    return int(parts[0]), int(parts[1])


def _numbers(option: str, text: str | None) -> tuple[float, ...]:
    try:
        return () if text is None else tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(
            f"{option} {text}: numbers with commas between are required, as 0.485,0.456,0.406"
        ) from None


@Parameter(name="*", group="Training")
@dataclass(frozen=True, slots=True)
class Training:
    """How to train.

    Attributes:
        epochs: passes over the training images.
        batch_size: images of one step, in all processes together.
        learning_rate: its peak; it falls along half a cosine.
        optimizer: sgd with momentum, or adamw.
        weight_decay: penalty on the weights.
        warmup: epochs over which the learning rate rises.
        label_smoothing: share of the labels that is spread over all classes.
        crop: pixels by which images are shifted at random at most.
        flip: mirror half of the images left to right.
        mixup: parameter of the beta distribution by which pairs of images are mixed; 0 for none.
        ema: share of the old average in the moving average of the weights; 0 for none.
        limit: at most so many training images, for a quick try.
        seed: of everything that is drawn.
        device: cpu, or cuda.
        precision: of convolutions and products; bf16 is quicker where the processor has it.
        threads: of torch on the processor; all by default.
        checkpoint_seconds: between checkpoints.
    """

    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: Annotated[float | None, Parameter(alias="--lr")] = None
    optimizer: Literal["sgd", "adamw"] | None = None
    weight_decay: float | None = None
    warmup: float | None = None
    label_smoothing: float | None = None
    crop: int | None = None
    flip: Annotated[bool | None, Parameter(negative="--no-flip")] = None
    mixup: float | None = None
    ema: float | None = None
    limit: int | None = None
    seed: int = 0
    device: str = "cpu"
    precision: Literal["fp32", "bf16"] = "fp32"
    threads: int | None = None
    checkpoint_seconds: float = 60.0

    @contextmanager
    def session(
        self, alone: str | None = None
    ) -> "Generator[tuple[Processes, str, Callable[[str, int, int], None]]]":
        """Threads as asked for, the processes connected, and progress shown.

        Args:
            alone: the command, if it trains in one process.

        Yields:
            The processes, the device of this one, and what to tell progress to.

        Raises:
            InputError: less than one thread, or several processes for one that trains alone.
        """
        mlcnn.training.set_threads(self.threads)
        with (
            mlcnn.training.processes(self.device) as (processes, device),
            progress() as tell,
        ):
            if alone is not None and processes.size > 1:
                raise InputError(
                    f"torchrun: {alone} trains in one process, {processes.size} were started; call "
                    "it without torchrun"
                )
            yield processes, device, tell

    def options(self, usual: "Recipe", device: str | None = None) -> "TrainOptions":
        """The same for the API.

        Args:
            usual: what holds where nothing is asked for.
            device: in place of the one asked for.

        Raises:
            InputError: an option is out of range.
        """
        given = {
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "optimizer": None
            if self.optimizer is None
            else mlcnn.training.Optimizer(self.optimizer),
            "weight_decay": self.weight_decay,
            "warmup_epochs": self.warmup,
            "label_smoothing": self.label_smoothing,
            "crop": self.crop,
            "flip": self.flip,
            "mixup": self.mixup,
            "ema": self.ema,
        }
        return mlcnn.api.TrainOptions(
            recipe=replace(usual, **{k: v for k, v in given.items() if v is not None}),
            hardware=mlcnn.training.Hardware(
                device or self.device, mlcnn.training.Precision(self.precision)
            ),
            seed=self.seed,
            every_s=self.checkpoint_seconds,
            limit=self.limit,
        )


@Parameter(name="*", group="Output")
@dataclass(frozen=True, slots=True)
class Printing:
    """What is printed, and which options are taken from a file.

    Attributes:
        json: one JSON document on standard output, and nothing else.
        verbose: tell on standard error what is done and when; -vv tells more.
        debug: the traceback of an error, on standard error.
        config: file of options; by default mlcnn.toml of this folder or the next above it.
        no_config: read no file of options.
    """

    json: bool = False
    verbose: Annotated[int, Parameter(name=("--verbose", "-v"), count=True)] = 0
    debug: bool = False
    config: Path | None = None
    no_config: bool = False
