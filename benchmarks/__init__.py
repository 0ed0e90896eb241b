"""Timings of the whole path on generated data; `make bench` runs them (see benchmarks/README.md)."""
