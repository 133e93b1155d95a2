"""Timings of tinycnn beside PyTorch on the same cores: ``python -m benchmarks``."""
