"""Timings of the whole path on generated data: `make bench`, described in benchmarks/README.md."""
