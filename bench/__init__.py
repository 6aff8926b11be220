"""Benchmarks: kvnode beside redis-server, in one run on one machine. See docs/BENCHMARKS.md."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT = Path(__file__).resolve().parent / "out"  # built programs, history; not under version control
