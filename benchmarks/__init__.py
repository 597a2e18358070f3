"""Benchmarks: ``python -m benchmarks`` (or ``--quick``). Each prints what it measured, as ratios in one run."""
