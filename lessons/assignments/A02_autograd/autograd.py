"""An autograd engine: first for numbers, then for arrays.

Every operation makes a new node with edges to its inputs (``edges``) and the rule that sends a gradient back along
them (``node.backward``). The function ``backward`` calls the rule of every node once, after everything that used it.
"""

import numpy as np


def topological(node):
    """Return the nodes behind ``node``, each once, each after its inputs; ``node`` itself comes last.

    A graph may be tens of thousands of nodes deep, so do not recurse: Python would stop at about a thousand.
    """
    ### BEGIN SOLUTION
    order, seen, stack = [], set(), [(node, False)]
    while stack:
        current, finished = stack.pop()
        if finished:
            order.append(current)
        elif id(current) not in seen:
            seen.add(id(current))
            stack.append((current, True))
            stack.extend((source, False) for source in current.edges)
    return order
    ### END SOLUTION


def backward(node):
    """Add d(node) / d(n) to the ``grad`` of every node n behind ``node``, which is a single number.

    Gradients of leaves (nodes without edges) accumulate over several calls, as they do in every framework. All other
    nodes start each call from zero.
    """
    ### BEGIN SOLUTION
    order = topological(node)
    for one in order:
        if one.edges:
            one.grad = 0 * one.grad
    node.grad = node.grad + 1
    for one in reversed(order):
        one.backward()
    ### END SOLUTION


class Value:
    """A number in the graph."""

    def __init__(self, data, edges=()):
        self.data, self.grad = float(data), 0.0
        self.edges, self.backward = edges, lambda: None

    def __add__(self, other):
        out = Value(self.data + other.data, (self, other))

        def backward():
            ### BEGIN SOLUTION
            self.grad += out.grad
            other.grad += out.grad
            ### END SOLUTION

        out.backward = backward
        return out

    def __mul__(self, other):
        out = Value(self.data * other.data, (self, other))

        def backward():
            ### BEGIN SOLUTION
            self.grad += other.data * out.grad
            other.grad += self.data * out.grad
            ### END SOLUTION

        out.backward = backward
        return out

    def __pow__(self, exponent):
        """Return the power of a plain number."""
        out = Value(self.data**exponent, (self,))

        def backward():
            ### BEGIN SOLUTION
            self.grad += exponent * self.data ** (exponent - 1) * out.grad
            ### END SOLUTION

        out.backward = backward
        return out

    def exp(self):
        """Return the exponential."""
        out = Value(np.exp(self.data), (self,))

        def backward():
            ### BEGIN SOLUTION
            self.grad += out.data * out.grad
            ### END SOLUTION

        out.backward = backward
        return out

    def relu(self):
        """Return max(x, 0); the slope at 0 is 0."""
        out = Value(max(self.data, 0.0), (self,))

        def backward():
            ### BEGIN SOLUTION
            self.grad += (self.data > 0) * out.grad
            ### END SOLUTION

        out.backward = backward
        return out


def unbroadcast(gradient, shape):
    """Sum ``gradient`` over the copies that NumPy made of an array of ``shape`` to broadcast it."""
    ### BEGIN SOLUTION
    gradient = gradient.sum(axis=tuple(range(gradient.ndim - len(shape))))
    repeated = tuple(axis for axis, size in enumerate(shape) if size == 1)
    return gradient.sum(axis=repeated, keepdims=True)
    ### END SOLUTION


class Tensor:
    """An array in the graph; ``topological`` and ``backward`` are those from above."""

    def __init__(self, data, edges=()):
        self.data = np.asarray(data, float)
        self.grad = np.zeros_like(self.data)
        self.edges, self.backward = edges, lambda: None

    def __add__(self, other):
        out = Tensor(self.data + other.data, (self, other))

        def backward():
            ### BEGIN SOLUTION
            self.grad += unbroadcast(out.grad, self.data.shape)
            other.grad += unbroadcast(out.grad, other.data.shape)
            ### END SOLUTION

        out.backward = backward
        return out

    def __mul__(self, other):
        out = Tensor(self.data * other.data, (self, other))

        def backward():
            ### BEGIN SOLUTION
            self.grad += unbroadcast(other.data * out.grad, self.data.shape)
            other.grad += unbroadcast(self.data * out.grad, other.data.shape)
            ### END SOLUTION

        out.backward = backward
        return out

    def __matmul__(self, other):
        """Return the product of two matrices."""
        out = Tensor(self.data @ other.data, (self, other))

        def backward():
            ### BEGIN SOLUTION
            self.grad += out.grad @ other.data.T
            other.grad += self.data.T @ out.grad
            ### END SOLUTION

        out.backward = backward
        return out

    def relu(self):
        """Return max(x, 0); the slope at 0 is 0."""
        out = Tensor(np.maximum(self.data, 0), (self,))

        def backward():
            ### BEGIN SOLUTION
            self.grad += (self.data > 0) * out.grad
            ### END SOLUTION

        out.backward = backward
        return out

    def sum(self):
        """Return the sum of all elements, of shape ()."""
        out = Tensor(self.data.sum(), (self,))

        def backward():
            ### BEGIN SOLUTION
            self.grad += np.broadcast_to(out.grad, self.data.shape)
            ### END SOLUTION

        out.backward = backward
        return out
