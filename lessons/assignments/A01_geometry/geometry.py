"""The cost of convolutions, in exact whole numbers.

All sizes are whole numbers, and so is every result: use //, which rounds down, never /.
"""


def output_size(size, kernel, stride=1, padding=0, dilation=1):
    """Return the number of positions of a window along one axis.

    Parameters
    ----------
    size : int
        Pixels along the axis.
    kernel, stride, padding, dilation : int
        ``padding`` is added at both ends. ``dilation`` is the distance between the taps of the kernel.

    Raises
    ------
    ValueError
        If the window is larger than the padded image.
    """
    ### BEGIN SOLUTION
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    if room < 0:
        raise ValueError(f"a window of {dilation * (kernel - 1) + 1} does not fit into {size + 2 * padding}")
    return room // stride + 1
    ### END SOLUTION


def conv_parameters(inputs, outputs, kernel, groups=1, bias=True):
    """Return the number of weights and biases of a convolution.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    kernel : (int, int)
        Height and width.
    groups : int
        Each output channel sees ``inputs / groups`` channels.
    bias : bool
        True if each output channel has one.
    """
    ### BEGIN SOLUTION
    height, width = kernel
    return outputs * (inputs // groups) * height * width + (outputs if bias else 0)
    ### END SOLUTION


def conv_multiply_adds(inputs, outputs, kernel, output, groups=1):
    """Return the multiplications, each with its addition, of a convolution for one image; biases do not count.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    kernel, output : (int, int)
        Height and width of the kernel, and of the map that comes out.
    """
    ### BEGIN SOLUTION
    return conv_parameters(inputs, outputs, kernel, groups, bias=False) * output[0] * output[1]
    ### END SOLUTION


def receptive_field(layers):
    """Return how many input pixels, along an axis, can change one output of a stack of windows.

    Parameters
    ----------
    layers : list of (kernel, stride, dilation)
        From the image on; pooling counts as convolution does.

    Returns
    -------
    int
    """
    ### BEGIN SOLUTION
    field, jump = 1, 1
    for kernel, stride, dilation in layers:
        field += dilation * (kernel - 1) * jump
        jump *= stride
    return field
    ### END SOLUTION


def audit(layers, channels, size):
    """Return the table of a network for square images: a row for each layer.

    Parameters
    ----------
    layers : list of tuples
        ``("conv", outputs, kernel, stride, padding, groups)``, ``("pool", kernel, stride)`` or ``("linear", outputs)``;
        the first linear layer sees all channels and pixels of the map before it. Every layer but pooling has biases.
    channels, size : int
        Of the image.

    Returns
    -------
    list of (channels, size, parameters, multiply_adds, field)
        ``size`` of the map along an axis (1 for linear layers) and the receptive field there. For linear layers the
        field is that of the last map, plus what lies between its first and its last element.
    """
    ### BEGIN SOLUTION
    rows, field, jump = [], 1, 1
    for kind, *numbers in layers:
        if kind == "linear":
            inputs, (channels,) = channels * size * size, numbers
            field, size = field + (size - 1) * jump, 1
            rows.append((channels, size, channels * (inputs + 1), channels * inputs, field))
            continue
        kernel, stride = numbers[-4:-2] if kind == "conv" else numbers
        size = output_size(size, kernel, stride, numbers[3] if kind == "conv" else 0)
        field, jump = field + (kernel - 1) * jump, jump * stride
        parameters = cost = 0
        if kind == "conv":
            inputs, channels, groups = channels, numbers[0], numbers[4]
            parameters = conv_parameters(inputs, channels, (kernel, kernel), groups)
            cost = conv_multiply_adds(inputs, channels, (kernel, kernel), (size, size), groups)
        rows.append((channels, size, parameters, cost, field))
    return rows
    ### END SOLUTION
