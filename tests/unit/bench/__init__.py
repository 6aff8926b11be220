"""Tests of the benchmarks: wrong figures are worse than none."""
