"""The differentiable operations: each a :class:`tinycnn.Function`, forward and backward side by side."""
