"""Speed comparisons, each one command; results go to ``runs/benchmarks/`` as JSON too.

python -m benchmarks             the speed table: fused over reordered, per engine and batch
python -m benchmarks.regression  no network of the zoo gets slower
python -m benchmarks.winograd    ncnn with and without Winograd, against the engines
python -m benchmarks.engines     the engines against each other, on the networks as they are
python -m benchmarks.accuracy    accuracy of a trained network in every engine, before and after
python -m benchmarks.rewriting   time and memory of the passes themselves
python -m benchmarks.evaluating  time of the accelerator models themselves
python -m benchmarks.sensitivity speed-up and energy ratio against what the paper does not give
python -m benchmarks.outside     every network of a public zoo, rewritten and compared
"""
