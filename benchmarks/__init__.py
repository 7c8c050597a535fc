"""Speed comparisons, each one command; results go to ``runs/benchmarks/`` as JSON.

python -m benchmarks             the speed table: fused over reordered, per engine and batch
python -m benchmarks.engines     the engines against each other, on the networks as they are
python -m benchmarks.quantised   the same in INT8 on one quantised file, plain and fused
python -m benchmarks.choice      the algorithms that native chooses against the best per layer
python -m benchmarks.layers      a network layer by layer, with the other engines' profiles
python -m benchmarks.winograd    ncnn with and without Winograd, against the engines
python -m benchmarks.tables      writes the tables of README.md and docs/measuring.md
python -m benchmarks.regression  no network of the zoo gets slower
python -m benchmarks.accuracy    accuracy of a trained network in every engine, before and after
python -m benchmarks.rewriting   time and memory of the passes themselves
python -m benchmarks.evaluating  time of the accelerator models themselves
python -m benchmarks.mapping     valid mappings scored in a second, compiled and in numpy
python -m benchmarks.exploring   every design mapped, and how near to the best explore comes
python -m benchmarks.exploring_fronts latency and power: bounds in place of weights
python -m benchmarks.mapping_peers the mapper beside AccelForge's, optima and seconds
python -m benchmarks.fft_engine  FFT engines over dense machines, and fixed point's accuracy
python -m benchmarks.sparse_array pruned networks on arrays that leave out zeros, over dense ones
python -m benchmarks.fixed_point accuracy of trained networks in the FFT engine's integers
python -m benchmarks.monarch     Monarch weights beside block-circulant ones of as many numbers
python -m benchmarks.compressing a trained network made smaller, by method: accuracy, time
python -m benchmarks.pulling     pulling weights towards circulant before they are projected
python -m benchmarks.bitwise     chains of layers of few bits in native, over FP32 and INT8
python -m benchmarks.exits       early exits that really skip, and batches of which some go on
python -m benchmarks.branch_memory weights that both branches of an If read
python -m benchmarks.focused     layers with masks of positions, over dense ones
python -m benchmarks.focused_network a ResNet-20 under masks in native
python -m benchmarks.heavier_head a head with a convolution beside a linear one
python -m benchmarks.selection   selective activation beside an exit and static channel masks
python -m benchmarks.selected_layers channels chosen by image in ONNX Runtime, over dense layers
python -m benchmarks.structured  layers and networks in structured weights over dense ones
python -m benchmarks.sparse      layers of mostly zero weights in native over dense ones
python -m benchmarks.smaller_layers half of the channels, and two stages, in ONNX Runtime
python -m benchmarks.sensitivity speed-up and energy ratio against what the paper does not give
python -m benchmarks.recovery    accuracy and speed after approximate passes and fine-tuning
python -m benchmarks.gallery     thirty known architectures: sites, savings and measured ratios
python -m benchmarks.outside     every network of a public zoo, rewritten and compared

The first four and ``winograd`` take networks by name, ``--batch 1 8`` and ``--processes 5``;
``--keep`` writes to ``benchmarks/measured``, a folder per processor, from which the tables are
made, and ``--resume`` leaves what is there. Targets are in ``benchmarks/targets.py``.
"""
