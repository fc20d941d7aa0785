"""Speed is measured, not asserted: `python -m tests.benchmarks` runs all of these."""
