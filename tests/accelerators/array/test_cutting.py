"""The set of tilings: every one covers its layer, and the set depends on the layer alone."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcnn.accelerators import LayerTask, Precision, load_accelerator
from mlcnn.accelerators.array.cutting import tilings
from mlcnn.accelerators.array.work import Work
from mlcnn.workload import ConvLayer, Layer

SOME = settings(max_examples=settings.default.max_examples // 3)


def _works(draw, small_layers, machines):
    layer, machine = draw(small_layers), draw(machines)
    return machine.ways(LayerTask(Layer(layer)))


@SOME
@given(data=st.data())
def test_every_tiling_covers_the_layer(data, small_layers, machines):
    work = data.draw(st.sampled_from(_works(data.draw, small_layers, machines)))
    layer, t = work.layer, tilings(work)
    filters, channels = layer.K // layer.G, layer.C // layer.G
    for index in data.draw(
        st.lists(st.integers(0, len(t.choices) - 1), min_size=1, max_size=10, unique=True)
    ):
        one = t.choices[index]
        assert 1 <= one.images <= layer.N
        assert 1 <= one.rows <= layer.pooled[0]
        assert 1 <= one.columns <= layer.pooled[1]
        assert t.output_channels[index] == one.output_channels <= filters
        assert t.input_channels[index] == one.input_channels <= channels
        # Factors multiply to at least the dimension, and one tile fewer would not do.
        assert t.output_tiles[index] == math.ceil(filters / one.output_channels)
        assert t.input_chunks[index] == math.ceil(channels / one.input_channels)
        last = (t.input_chunks[index] - 1) * one.input_channels
        assert last + t.last_channels[index] == channels
        places = math.ceil(layer.N / one.images)
        places *= math.ceil(layer.pooled[0] / one.rows) * math.ceil(layer.pooled[1] / one.columns)
        assert t.spots.tiles[t.place[index]] == places
        assert t.spots.counts[t.place[index]].sum() == places
        spots, place = t.spots, t.place[index]
        assert spots.outputs[place, 0] == one.images * one.rows * one.columns
        # All tiles together have every output once.
        every = spots.outputs[place] * spots.counts[place]
        assert every.sum() == layer.N * layer.pooled[0] * layer.pooled[1]
        lasts = (t.output_tiles[index] - 1) * one.output_channels + t.last_outputs[index]
        assert lasts == filters
        assert bool(t.weights_outer[index]) is one.weights_outer
        assert bool(t.kept[index]) is one.keep


@SOME
@given(data=st.data())
def test_there_are_no_doubles_and_the_whole_layer_is_among_them(data, small_layers, machines):
    work = data.draw(st.sampled_from(_works(data.draw, small_layers, machines)))
    layer, t = work.layer, tilings(work)
    found = [t.choices[index] for index in range(len(t.choices))]
    assert len(set(found)) == len(found)
    whole = [
        one
        for one in found
        if (one.images, one.rows, one.columns) == (layer.N, *layer.pooled)
        and one.output_channels == layer.K // layer.G
        and one.input_channels == layer.C // layer.G
    ]
    assert whole


@SOME
@given(data=st.data())
def test_some_of_them_are_the_same_ones(data, small_layers, machines):
    work = data.draw(st.sampled_from(_works(data.draw, small_layers, machines)))
    t = tilings(work)
    some = np.array(data.draw(st.lists(st.integers(0, len(t.choices) - 1), min_size=1)))
    few = t.take(some)
    assert np.array_equal(few.place, t.place[some])
    assert np.array_equal(few.input_channels, t.input_channels[some])
    assert np.array_equal(t.cuts[t.output], t.output_channels)
    # The tilings of a tile stand together.
    tile = t.place * len(t.cuts) + t.output
    assert np.array_equal(tile, np.repeat(np.arange(len(t.starts) - 1), np.diff(t.starts)))
    assert few.choices is t.choices


def test_what_the_input_goes_through_changes_no_tiling():
    layer = ConvLayer("l", N=2, K=8, C=4, H=9, W=9, R=3, S=3)
    work = Work(layer, Precision.FP32)
    assert tilings(replace(work, scaled=True)) is tilings(work)


@pytest.mark.parametrize("name", ["dcnn-fp32", "mlcnn-fp32", "winograd-f2-fp32"])
def test_the_set_depends_on_the_layer_alone(name):
    layer = ConvLayer("l", N=4, K=96, C=48, H=12, W=12, R=3, S=3)
    machine = load_accelerator(name)
    other = replace(machine, slices=3, input_bytes=4096, accumulator_entries=8)
    for one, two in zip(
        machine.ways(LayerTask(Layer(layer))), other.ways(LayerTask(Layer(layer))), strict=True
    ):
        assert tilings(one) is tilings(two)


def test_output_channels_are_cut_at_whole_arrays_too():
    layer = ConvLayer("l", N=1, K=160, C=4, H=4, W=4, R=1, S=1)
    cuts = set(tilings(Work(layer, Precision.FP32)).output_channels.tolist())
    # Halves and thirds of it are 80 and 54: no multiples of 32.
    assert {64, 80, 96, 160} <= cuts


def test_input_channels_are_cut_at_whole_sets_and_beats():
    """Eight channels go through a slice at a time, 16 or 64 words make a beat."""
    layer = ConvLayer("l", N=1, K=4, C=200, H=4, W=4, R=1, S=1)
    cuts = set(tilings(Work(layer, Precision.FP32)).input_channels.tolist())
    assert all(cut % 8 == 0 for cut in cuts)
    # A half is 100: 112 and 128 are whole beats of 16 and 64 words.
    assert {8, 16, 112, 128, 200} <= cuts
