"""The matrix product."""


def matmul(a, b):
    return a @ b  # (M, K) @ (K, N) -> (M, N)
