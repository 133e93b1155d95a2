"""Losses that need a kernel of their own: see :mod:`tinycnn.kernels.reference.softmax`."""

from __future__ import annotations

from tinycnn.autograd import Function


class CrossEntropy(Function):
    """-log softmax(logits)[target] for each sample, in one stable step.

    Backward: grad * (softmax(logits) - one_hot(target)). Logits (N, C, inner),
    target (N, inner) of class indices, output (N, inner).
    """

    returns_new = True

    def forward(self, logits, target, weight, ignore_index, label_smoothing):
        weight = None if weight is None else self.kernels.as_array(weight)
        self.options = ignore_index, label_smoothing
        losses, _, log_probabilities = self.kernels.cross_entropy(logits, target, weight, *self.options)
        self.save(log_probabilities, target, weight)
        return losses

    def backward(self, grad):
        log_probabilities, target, weight = self.saved
        return self.kernels.cross_entropy_backward(grad, log_probabilities, target, weight, *self.options), None
