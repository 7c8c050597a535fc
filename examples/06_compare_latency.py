"""Measure a network before and after, in every engine that is installed."""

import mlcnn

report = mlcnn.bench("lenet5", batches=(1, 8))
for row in report.results:
    print(
        f"{row.engine:12} {row.variant:10} batch {row.batch}: {row.median_ms:8.3f} ms "
        f"({row.q1_ms:.3f} to {row.q3_ms:.3f})"
    )
for warning in report.warnings:
    print(f"warning: {warning}")
