"""The GPU: arrays in its memory, launches and copies, or Numba's simulator of it.

``target`` is below ``device_array``, and that below the others.
"""
