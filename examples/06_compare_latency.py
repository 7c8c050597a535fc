"""Measure a network before and after, in every engine that is installed."""

import mlcnn

options = mlcnn.MeasureOptions(batches=(1, 8), budget_s=0.5)
report = mlcnn.bench("lenet5", measuring=options)
for row in report.results:
    print(
        f"{row.engine:12} {row.variant:10} batch {row.batch}: {row.median_ms:8.3f} ms "
        f"({row.q1_ms:.3f} to {row.q3_ms:.3f})"
    )
for row in report.skipped:
    print(f"{row.engine} cannot run it: {row.reason}")
for warning in report.warnings:
    print(f"warning: {warning}")
