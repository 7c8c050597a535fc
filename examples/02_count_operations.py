"""Count what each layer of a network takes, before and after, in three conventions."""

import mlcnn

report = mlcnn.count("vgg16", mlcnn.RewriteOptions(form="box"))

print(f"{'layer':14} {'mult.':>12} {'fused':>12} {'add.':>12} {'paper':>12} {'shared':>12}")
for row in report.layers:
    if not row.fused:
        continue
    multiplications, additions = row.multiplications, row.additions
    print(
        f"{row.name:14} {multiplications.original:12,} {multiplications.fused:12,} "
        f"{additions.original:12,} {additions.paper:12,} {additions.shared:12,}"
    )

convolutions = [row for row in report.layers if row.operator == "Conv"]
before = sum(row.multiplications.original for row in convolutions)
after = sum(row.multiplications.fused for row in convolutions)
print(f"all convolutions: {before:,} -> {after:,} multiplications, {1 - after / before:.1%} less")
