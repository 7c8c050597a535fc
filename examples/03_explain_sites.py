"""See what would be done with a network, what not, and why; choose where it may be done."""

import mlcnn

# The alias `exact` keeps the network's function; `mlcnn` has the approximate passes, too.
network = mlcnn.load("resnet18")
for passes in ("exact", "mlcnn"):
    optimized = mlcnn.optimize(network, passes=passes)
    print(f"\n{passes}: {len(optimized.fused)} fused, pipeline {optimized.pipeline}")
    for change in optimized.changes:
        kind = "exact" if change.exact else "approximate"
        print(f"  {change.pass_name} ({kind}): {', '.join(change.nodes)}")
    for site in optimized.skipped:
        print(f"  {site.pass_name} left {site.node} alone: {site.reason}")

# The names are those of the modules; a pipeline's text can be run again.
again = mlcnn.optimize(network, passes=optimized.pipeline)
assert [c.form for c in again.fused] == [c.form for c in optimized.fused]

nowhere = mlcnn.optimize(network, passes="mlcnn", exclude=["layer4.1.conv2"])
assert not nowhere.fused
