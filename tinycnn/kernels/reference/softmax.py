"""Softmax, its logarithm and cross-entropy. Subtracting the largest element changes nothing but the overflow."""

import numpy as np


def softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True, initial=-np.inf))  # like x
    return e / e.sum(axis, keepdims=True)


def softmax_backward(grad, out, axis):
    return out * (grad - (grad * out).sum(axis, keepdims=True))


def log_softmax(x, axis):
    shifted = x - x.max(axis, keepdims=True, initial=-np.inf)  # like x
    return shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))


def log_softmax_backward(grad, out, axis):
    return grad - np.exp(out) * grad.sum(axis, keepdims=True)


def cross_entropy(logits, target, weight, ignore_index, label_smoothing):
    log_p = log_softmax(logits, axis=1)  # (N, C, inner)
    q, sample_weights = _target_distribution(log_p, target, weight, ignore_index, label_smoothing)
    losses = -np.where(q == 0, 0, q * log_p).sum(axis=1)  # (N, inner); a class that does not count may be impossible
    return losses, sample_weights, log_p


def cross_entropy_backward(grad, log_probabilities, target, weight, ignore_index, label_smoothing):
    q, _ = _target_distribution(log_probabilities, target, weight, ignore_index, label_smoothing)
    grad_logits = grad[:, None] * (q.sum(axis=1, keepdims=True) * np.exp(log_probabilities) - q)  # (N, C, inner)
    return np.where((target == ignore_index)[:, None], 0, grad_logits)


def _target_distribution(log_p, target, weight, ignore_index, label_smoothing):
    """Return q (N, C, inner) with loss = -sum over c of q[c] log_p[c], and the weight (N, inner) of each sample."""
    C = log_p.shape[1]
    w = np.ones((C, 1), log_p.dtype) if weight is None else weight.astype(log_p.dtype)[:, None]  # (C, 1)
    ignored = target == ignore_index  # (N, inner)
    one_hot = target[:, None] == np.arange(C)[:, None]  # (N, C, inner)
    on_target = np.where(one_hot, w, 0)  # (N, C, inner)
    q = (1 - label_smoothing) * on_target + label_smoothing * w / C  # (N, C, inner)
    outside = ~one_hot.any(axis=1)  # (N, inner): not a class
    q = np.where(ignored[:, None], 0, np.where(outside[:, None], np.nan, q))
    return q, np.where(ignored, 0, np.where(outside, np.nan, on_target.sum(axis=1)))
