"""Steps of optimisers, in place. All arrays of a step have the same shape."""

import numpy as np


def sgd_update(parameter, grad, momentum_buffer, first_step, lr, momentum, dampening, weight_decay, nesterov):
    g = grad + weight_decay * parameter
    if momentum_buffer is not None:
        momentum_buffer[...] = g if first_step else momentum * momentum_buffer + (1 - dampening) * g
        g = g + momentum * momentum_buffer if nesterov else momentum_buffer
    parameter -= lr * g


def adam_update(parameter, grad, exp_avg, exp_avg_sq, step, lr, beta1, beta2, eps, weight_decay, decoupled):
    if decoupled:
        parameter *= 1 - lr * weight_decay
    g = grad if decoupled else grad + weight_decay * parameter
    exp_avg += (1 - beta1) * (g - exp_avg)
    exp_avg_sq[...] = beta2 * exp_avg_sq + (1 - beta2) * g**2
    m, v = exp_avg / (1 - beta1**step), exp_avg_sq / (1 - beta2**step)
    parameter -= lr * m / (np.sqrt(v) + eps)
