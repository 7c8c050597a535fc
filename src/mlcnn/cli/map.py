"""``mlcnn map``: the best mapping of a layer or a network on given hardware, explained."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

import mlcnn
from mlcnn.cli.options import Loading, Printing
from mlcnn.cli.output import print_json, progress, show
from mlcnn.errors import InputError

if TYPE_CHECKING:
    from mlcnn.api import MapOptions

__all__ = ["mapping", "parse_seconds"]

_SECONDS = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|min|h)?")
_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "": 1.0}
_NOT_FIT = 1


def parse_seconds(text: str) -> float:
    """The seconds in a text like ``60s``.

    Raises:
        InputError: it is no positive time.
    """
    found = _SECONDS.fullmatch(text.strip())
    seconds = 0.0 if found is None else float(found[1]) * _UNITS[found[2] or ""]
    if not seconds:
        raise InputError(f"--budget {text}: a positive time is required, as 60s, 500ms or 2m")
    return seconds


@Parameter(name="*", group="Mapping")
@dataclass(frozen=True, slots=True)
class Mapping:
    """On what to map, and what to look for.

    Attributes:
        on: architecture, as gemmini, eyeriss, simba or systolic, or your own .yaml file (also
            Timeloop's, energies and all, or several with commas between them).
        objective: what is made small; edp is energy times latency.
        factors: perfect, whose products are the dimensions, or padded, which may exceed them.
        budget: time after which the best so far is taken, as 60s or 2m; of a network, for all.
        convention: what is counted: exact, exact-box, timeloop-2023 or timeloop-2024.
        constraints: file of Timeloop's with what the mappings of a layer must keep to.
    """

    on: str = "gemmini"
    objective: Literal["edp", "energy", "latency"] = "edp"
    factors: Literal["perfect", "padded"] = "perfect"
    budget: str = "60s"
    convention: str = "exact"
    constraints: str | None = None

    def options(self) -> "MapOptions":
        """The same for the API.

        Raises:
            InputError: the budget is no time.
        """
        return mlcnn.api.MapOptions(
            self.on,
            self.objective,
            self.factors,
            parse_seconds(self.budget),
            self.convention,
            self.constraints,
        )


def mapping(
    model: str | None = None,
    /,
    *,
    layer: Annotated[str | None, Parameter(group="Layer")] = None,
    form: Annotated[Literal["plain", "box", "expanded"], Parameter(group="Layer")] = "plain",
    passes: Annotated[str | None, Parameter(group="Layer")] = None,
    batch: Annotated[int | None, Parameter(group="Layer")] = None,
    check: str | None = None,
    explain: str | None = None,
    timeloop: str | None = None,
    mapped: Mapping = Mapping(),
    loading: Loading = Loading(),
    printing: Printing = Printing(),
) -> int:
    """Find the best mapping of a layer, or of a network's layers, on given hardware.

    Args:
        model: network, and a layer of it behind a colon, as resnet18-224:layer1.0.conv1; without a
            layer the whole network, identical layers once.
        layer: sizes instead, as N=1,K=64,C=64,H=56,W=56,R=3,S=3,pad=1,stride=2,dilation=1,G=1;
            P and Q instead of H and W; pool=2 for a pool behind it. Or the .yaml file of a problem
            of Timeloop's.
        form: how a convolution with a pool behind it is computed: box and expanded rewrite the
            network first.
        passes: pipeline that rewrites the network first, as for mlcnn optimize; in the form plain
            none runs by default.
        batch: images; 1 by default, or what the network is fixed to.
        check: a mapping, as text or a .yaml file (also Timeloop's): it is scored, and what does not
            fit is told, with the smallest change that helps. Exit code 1 where it does not fit.
        explain: level and operand, as scratchpad.input: how that count comes about, and what others
            would count.
        timeloop: folder that the mapping of a layer is written to as Timeloop reads it, and its
            statistics.
        mapped: on what, and what to look for.
        loading: how to load the network.
        printing: what is printed.
    """
    options = mapped.options()
    network = mlcnn.api.NetworkOptions(
        mlcnn.workload.NestForm(form),
        batch,
        loading.shape,
        loading.weights,
        mlcnn.api.RewriteOptions(passes=passes),
    )
    given = _layer(model, layer)
    if given is None:
        return _network(str(model), options, network, printing, check or explain or timeloop)
    with progress() as tell:
        if check is None:
            found = mlcnn.map_layer(given, options, network, tell)
        else:
            found = mlcnn.api.check_mapping(given, check, options, network)
        told = None if explain is None else mlcnn.api.explain_count(found, explain)
        if timeloop is not None:
            mlcnn.api.save_for_timeloop(found, timeloop, given, options, network)
    if printing.json:
        print_json(found.to_json() | ({} if told is None else {"explained": told.to_json()}))
    elif told is not None:
        show(found.text, "", mlcnn.api.explained_text(told))
    else:
        show(mlcnn.api.mapping_tables(found))
    fits = not isinstance(found, mlcnn.codesign.Checked) or found.fits
    return 0 if fits else _NOT_FIT


def _layer(model: str | None, layer: str | None) -> str | None:
    """The one layer that is asked for; None for a whole network.

    Raises:
        InputError: nothing is, or two things are.
    """
    if (model is None) == (layer is None):
        given = "neither is" if model is None else "both are"
        raise InputError(
            f"a network (as resnet18-224, or with a layer as resnet18-224:layer1.0.conv1) or "
            f"--layer with sizes is required, and {given} given"
        )
    if layer is not None:
        if "=" not in layer and not mlcnn.accelerators.is_file(layer):
            raise InputError(
                f"--layer {layer}: sizes are required, as N=1,K=64,C=64,H=56,W=56,R=3,S=3; a layer "
                f"of a network is given as NETWORK:{layer}"
            )
        return layer
    return None if mlcnn.api.split_layer(str(model))[1] is None else model


def _network(
    model: str,
    options: "MapOptions",
    network: "mlcnn.api.NetworkOptions",
    printing: Printing,
    single: str | None,
) -> int:
    if single is not None:
        raise InputError(
            f"--check, --explain and --timeloop are of one layer, and {model} is a network: give "
            f"the layer behind a colon, as {model}:conv1"
        )
    with progress() as tell:
        found = mlcnn.map_network(model, options, network, tell)
    name = mlcnn.api.model_name(model)
    if printing.json:
        print_json({"network": name, **found.to_json()})
    else:
        show(mlcnn.api.network_mapping_tables(found, name))
    return 0
