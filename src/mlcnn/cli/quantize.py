"""``mlcnn quantize``: a network with weights and activations of few bits."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

import mlcnn
from mlcnn.cli.options import Imaging, Loading, Measuring, Printing, Rewriting
from mlcnn.cli.output import console, print_json, progress, show
from mlcnn.cli.tuning import Tuning
from mlcnn.errors import InputError

__all__ = ["quantize"]


def quantize(
    model: str,
    /,
    *,
    data: str,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    bits: int = 8,
    weight_bits: int | None = None,
    input_bits: int | None = None,
    observer: Literal["auto", "min-max", "percentile", "mse", "entropy"] = "auto",
    bias_correction: Literal["auto", "on", "off"] = "auto",
    float_: Annotated[tuple[str, ...], Parameter(name="--float")] = (),
    sensitivity: Annotated[bool, Parameter(negative="--no-sensitivity")] = True,
    fuse: bool = False,
    means: Literal["rounded", "exact"] = "rounded",
    measure: bool = False,
    calibration_images: int = 512,
    validation_images: int = 1024,
    test_images: int | None = None,
    tuning: Tuning = Tuning(),
    imaging: Imaging = Imaging(),
    loading: Loading = Loading(),
    rewriting: Rewriting = Rewriting(),
    measuring: Measuring = Measuring(),
    printing: Printing = Printing(),
) -> None:
    """Quantise a trained network: calibrate it on images, save it, and measure its accuracy.

    Args:
        model: zoo name, .onnx or .pt2 file, timm:NAME, hf:ORG/NAME, or package.module:callable.
        data: labelled images, as folders of images by class, CIFAR, MNIST or SVHN files, an .npz
            file, package.module:callable that returns a torch data set, or a name as cifar10.
        output: the file to write; NAME-int8.onnx in the current directory by default.
        bits: of weights and activations, 2 to 8; engines compute 8 in integers,
            native fewer, too.
        weight_bits: of weights alone; 1, their signs, with --finetune only.
        input_bits: of activations alone.
        observer: how ranges are found; auto takes the best by validation images.
        bias_correction: make up for the mean error of rounded weights; auto if that is better.
        float_: name of a layer that stays in floats. Repeat it for more.
        sensitivity: keep the first or last layer in floats where the results depend on it.
        fuse: rewrite the network first, as mlcnn optimize does, so that fused layers are quantised.
        means: what becomes of the means of fused layers; rounded to codes, as every engine takes
            them, or exact, as sums of codes in the engine native.
        measure: measure latencies before and after.
        calibration_images: images that ranges come from.
        validation_images: images that the best way is chosen by.
        test_images: images that accuracy is measured on; all by default.
        tuning: how to fine-tune, if at all.
        imaging: how the images go to the network.
        loading: how to load the network.
        rewriting: which passes run first, with --fuse.
        measuring: in which engines; accuracy in onnxruntime, openvino and native by default. The
            threads are those of torch, too, which takes all if nothing is said.
        printing: what is printed.
    """
    path = mlcnn.api.check_output(output or _default(model, bits), model)
    if not fuse and rewriting != Rewriting():
        raise InputError("options of the rewrite go with --fuse; give it, or leave them away")
    mlcnn.api.check_bits(bits, "--bits")
    mlcnn.training.set_threads(measuring.threads)
    options = mlcnn.QuantizeOptions(
        mlcnn.api.Setting(
            weight_bits=bits if weight_bits is None else weight_bits,
            input_bits=bits if input_bits is None else input_bits,
            observer=observer,
            bias_correction={"auto": None, "on": True, "off": False}[bias_correction],
            floating=float_,
            sensitivity=sensitivity,
            means=mlcnn.api.Means(means),
        ),
        tuning=tuning.options(measuring.device, measuring.seed, _checkpoint(path)),
        fuse=fuse,
        engines=measuring.engine,
        measuring=measuring.options() if measure else None,
        calibration=calibration_images,
        validation=validation_images,
        test=test_images,
        threads=measuring.options().threads,
    )
    with progress() as tell:
        result = mlcnn.quantize(
            model,
            data,
            options,
            images=imaging.options(),
            rewriting=rewriting.options(),
            input_shape=loading.shape,
            weights=loading.weights,
            progress=tell,
        )
        result.save(path)
        _checkpoint(path).unlink(missing_ok=True)
    if printing.json:
        print_json({"output": str(path), **result.to_json()})
        return
    show(repr(result))
    console().print(f"written: {path}", soft_wrap=True, markup=False)


def _checkpoint(path: Path) -> Path:
    """What an interrupted fine-tuning goes on from; gone when it is through."""
    return path.with_suffix(".checkpoint.npz")


def _default(model: str, bits: int) -> Path:
    return Path(f"{mlcnn.api.model_name(model)}-int{bits}.onnx")
