"""Benchmarks: each file prints its figures and says what they mean. `make bench` runs them all."""
