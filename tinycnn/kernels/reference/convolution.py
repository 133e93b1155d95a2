"""Convolution as a matrix product: of the weight, a row for each output channel, and the columns of :mod:`.im2col`.

The product out = rows @ columns has the gradients rows^T @ grad and grad @ columns^T; col2im takes the first back to
pixels. With G groups there are G such products side by side. Other algorithms than "im2col" are for faster sets.
"""

from tinycnn.kernels.reference.im2col import col2im, im2col


def conv2d(x, weight, bias, shape, algorithm="auto"):
    (N, C_out, H_out, W_out), (_, C, kH, kW), G = shape.output, shape.weight, shape.groups  # C: channels of a group
    columns = im2col(x, shape).reshape(N, G, C * kH * kW, H_out * W_out)
    rows = weight.reshape(G, C_out // G, C * kH * kW)
    out = (rows @ columns).reshape(N, C_out, H_out, W_out)  # from (N, G, C_out / G, H_out W_out)
    return out if bias is None else out + bias[:, None, None]


def conv2d_backward_input(grad, weight, shape, algorithm="auto"):
    (N, C_out, H_out, W_out), (_, C, kH, kW), G = shape.output, shape.weight, shape.groups
    rows = weight.reshape(G, C_out // G, C * kH * kW)
    grad = grad.reshape(N, G, C_out // G, H_out * W_out)
    columns = rows.swapaxes(1, 2) @ grad  # (N, G, C kH kW, H_out W_out)
    return col2im(columns.reshape(N, G * C * kH * kW, H_out * W_out), shape)  # (N, G C, H, W)


def conv2d_backward_weight(grad, x, shape, algorithm="auto"):
    (N, C_out, H_out, W_out), (_, C, kH, kW), G = shape.output, shape.weight, shape.groups
    columns = im2col(x, shape).reshape(N, G, C * kH * kW, H_out * W_out)
    grad = grad.reshape(N, G, C_out // G, H_out * W_out)
    rows = (grad @ columns.swapaxes(2, 3)).sum(axis=0)  # (G, C_out / G, C kH kW)
    return rows.reshape(C_out, C, kH, kW)


def conv2d_backward_bias(grad):
    return grad.sum(axis=(0, 2, 3))  # (C_out,)
