"""The machine behind the kernels: threads, memory, layout of arrays, vector code.

Kernels meet it in :mod:`.parallel`.
"""
