"""``mlcnn.evaluate``."""

import onnx_ir as ir
import pytest
import torch
from torch import nn

import mlcnn
from mlcnn.accelerators import LayerTask, evaluate_layer, load_accelerator, load_technology
from mlcnn.api.evaluation import EvaluateOptions, evaluate_all, for_machines
from mlcnn.errors import InputError
from mlcnn.graph import to_proto
from mlcnn.workload import ConvLayer, Layer

LAYER = ConvLayer("0", N=16, K=4, C=3, H=8, W=8, R=3, S=3, pads=(1, 1, 1, 1))


def test_a_layer_costs_what_its_loop_nest_costs(linear: ir.Model):
    (row,) = mlcnn.evaluate(linear).layers
    task = LayerTask(Layer(ConvLayer(**fields_of(LAYER) | {"pool": row.task.layer.pool})))
    machine, technology = load_accelerator("mlcnn-fp32"), load_technology()
    expected = evaluate_layer(task, machine, technology)
    assert (row.task.layer.pool.kernel, row.task.layer.pool.strides) == ((2, 2), (2, 2))
    assert row.cost.cycles == expected.cycles
    assert row.cost.energy == expected.energy
    assert row.cost.traffic == expected.traffic


def fields_of(layer: ConvLayer) -> dict[str, object]:
    return {name: getattr(layer, name) for name in layer.__slots__}


def test_without_approximate_passes_a_network_of_ones_own_is_not_fused(activated: ir.Model):
    kept = mlcnn.evaluate(activated)
    assert kept.fused is None
    assert {row.cost.execution for row in kept.layers} == {"plain"}
    changed = mlcnn.evaluate(activated, mlcnn.RewriteOptions(passes="mlcnn"))
    assert changed.fused is not None
    assert changed.fused.layers == 1
    assert changed.fused.speedup > 1


def test_a_form_limits_the_layers_to_those_that_take_it(linear: ir.Model):
    assert mlcnn.evaluate(linear, mlcnn.RewriteOptions(form="box")).fused is not None
    # One matrix-vector product needs a pool over the whole map; this one leaves 4x4.
    assert mlcnn.evaluate(linear, mlcnn.RewriteOptions(form="matvec")).fused is None


def test_the_batch_changes_work_in_proportion(linear: ir.Model):
    one, eight = (mlcnn.evaluate(linear, batch=batch) for batch in (1, 8))
    assert eight.batch == 8
    for first, second in zip(one.layers, eight.layers, strict=True):
        assert second.cost.multiplications == 8 * first.cost.multiplications
    assert eight.cycles <= 8 * one.cycles


def test_the_argument_is_left_as_it_was(linear: ir.Model):
    before = to_proto(linear).SerializeToString(deterministic=True)
    mlcnn.evaluate(linear)
    assert to_proto(linear).SerializeToString(deterministic=True) == before


def test_machines_and_tables_are_checked_before_anything_is_loaded():
    with pytest.raises(InputError, match="unknown accelerator 'mlcnn-fp64'"):
        mlcnn.evaluate("missing.onnx", on="mlcnn-fp64")
    with pytest.raises(InputError, match="unknown technology 'tsmc'"):
        mlcnn.evaluate("missing.onnx", technology="tsmc")
    with pytest.raises(InputError, match=r"evaluating at batch -1: it must be 1 or more"):
        mlcnn.EvaluateOptions(batch=-1).load()


def test_a_layer_that_no_machine_runs_is_noted():
    network = nn.Sequential(nn.Conv3d(3, 4, 3), nn.Flatten(1, 2), nn.Conv2d(16, 2, 3))
    model = mlcnn.load(network, torch.zeros(1, 3, 6, 8, 8))
    machines = EvaluateOptions(("mlcnn-fp32",)).load()
    found, notes = evaluate_all(for_machines(model, "exact"), machines)
    assert len(found) == 1
    assert notes == ("not in the figures of the accelerators: Conv over 3 dimensions (0)",)
