"""Lines for a type checker: it must reject those that are marked, and no others."""
# ruff: noqa: F841

import numpy as np

import tinycnn as tc
from tinycnn import functional as F
from tinycnn.kernels import for_device


def never_called() -> None:
    """Lines that are read, not run."""
    x = tc.Tensor(np.ones((2, 3), np.float32), requires_grad=True)
    y = F.relu(x.reshape(3, 2).T @ x.T - 1.0)
    y.sum().backward()
    largest = y.max(dim=1)
    rows: int = y.shape[0]
    hook = y.register_hook(lambda grad: 2 * grad)
    model = tc.nn.Sequential(tc.nn.Flatten(), tc.nn.Linear(3, 2))
    optimizer = tc.optim.SGD(model.parameters(), lr=0.1)
    kernels = for_device("cpu")
    product = kernels.relu_backward(kernels.matmul(x.data, x.data.T), y.data, reuse=True)

    a = x.requries_grad  # wrong
    b = x.bakward()  # wrong
    c = x.summ()  # wrong
    d = x.sum(axis=0)  # wrong
    e = x.reshap(3, 2)  # wrong
    f = (x + 1).shap  # wrong
    g = (x @ x.T).grads  # wrong
    h = x.T.dtpye  # wrong
    i = tc.Tensr([1.0])  # wrong
    j = tc.no_gradd()  # wrong
    k = F.rleu(x)  # wrong
    m = tc.nn.Lineer(2, 3)  # wrong
    n = tc.optim.SGDD([x], lr=0.1)  # wrong
    p = kernels.conv2dd  # wrong
    q = kernels.matmul(x.data)  # wrong
    r = kernels.softmax(x.data, dim=1)  # wrong
    s = kernels.relu_backward(x.data, y.data, reuse=3.5)  # wrong
    o = x.reshape("3")[0].backward(retain_grap=True)  # wrong
