"""The differentiable operations: each a :class:`tinycnn.Function`, forward and backward side by side.

``self.kernels.relu(x)`` computes the same as ``relu`` of :mod:`tinycnn.kernels.reference`, which is written in NumPy.
:mod:`tinycnn.kernels.protocol` has the signatures.
"""
