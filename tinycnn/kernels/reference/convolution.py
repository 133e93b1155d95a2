"""Convolution as a matrix product: of the weight, a row for each output channel, and the columns of :mod:`.im2col`.

The product out = rows @ columns has the gradients rows^T @ grad and grad @ columns^T; col2im takes the first back to
pixels. With G groups there are G such products side by side.
"""

from tinycnn.kernels.geometry import output_size
from tinycnn.kernels.reference.im2col import col2im, im2col


def conv2d(x, weight, bias, stride, padding, dilation, groups, algorithm="auto"):
    (N, C, H, W), (C_out, _, kH, kW), G = x.shape, weight.shape, groups
    H_out, W_out = map(output_size, (H, W), (kH, kW), stride, padding, dilation)
    columns = im2col(x, (kH, kW), stride, padding, dilation)  # (N, C kH kW, H_out W_out)
    columns = columns.reshape(N, G, C // G * kH * kW, H_out * W_out)
    rows = weight.reshape(G, C_out // G, C // G * kH * kW)
    out = (rows @ columns).reshape(N, C_out, H_out, W_out)  # from (N, G, C_out / G, H_out W_out)
    return out if bias is None else out + bias[:, None, None]


def conv2d_backward_input(grad, weight, input_shape, stride, padding, dilation, groups, algorithm="auto"):
    (N, C_out, H_out, W_out), (_, C, _, _), (*_, kH, kW), G = grad.shape, input_shape, weight.shape, groups
    rows = weight.reshape(G, C_out // G, C // G * kH * kW)
    grad = grad.reshape(N, G, C_out // G, H_out * W_out)
    columns = rows.swapaxes(1, 2) @ grad  # (N, G, C / G kH kW, H_out W_out)
    columns = columns.reshape(N, C * kH * kW, H_out * W_out)
    return col2im(columns, input_shape, (kH, kW), stride, padding, dilation)  # (N, C, H, W)


def conv2d_backward_weight(grad, x, weight_shape, stride, padding, dilation, groups, algorithm="auto"):
    (N, C_out, H_out, W_out), (_, C, _, _), (*_, kH, kW), G = grad.shape, x.shape, weight_shape, groups
    columns = im2col(x, (kH, kW), stride, padding, dilation)  # (N, C kH kW, H_out W_out)
    columns = columns.reshape(N, G, C // G * kH * kW, H_out * W_out)
    grad = grad.reshape(N, G, C_out // G, H_out * W_out)
    rows = (grad @ columns.swapaxes(2, 3)).sum(axis=0)  # (G, C_out / G, C / G kH kW)
    return rows.reshape(C_out, C // G, kH, kW)


def conv2d_backward_bias(grad):
    return grad.sum(axis=(0, 2, 3))  # (C_out,)
