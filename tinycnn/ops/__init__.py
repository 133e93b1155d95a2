"""The differentiable operations: each a :class:`tinycnn.Function`, forward and backward side by side.

``self.kernels.relu(x)`` computes what ``relu`` in :mod:`tinycnn.kernels.reference` says in NumPy.
:mod:`tinycnn.kernels.protocol` has the signatures.
"""
