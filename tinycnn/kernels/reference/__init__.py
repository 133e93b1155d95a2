"""Every kernel in plain NumPy, a file a family, without layouts, threads or optimisations.

Read these files first. Signatures and docstrings are those of :mod:`tinycnn.kernels.protocol`. The fast kernels of
:mod:`tinycnn.kernels.cpu` and :mod:`tinycnn.kernels.cuda` must return the same, to rounding: the tests compare them.
``with tc.use_kernels("reference"):`` or the environment variable ``TINYCNN_KERNELS=reference`` runs operations on them,
so that a debugger steps through these lines. They also take over where Numba is not installed.

A comment at the end of a line is the shape of its array. The same letter is the same dimension everywhere: N images,
C channels, H x W pixels, C_out output channels, kH x kW kernel, H_out x W_out output pixels, G groups.
"""
