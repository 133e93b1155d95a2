"""Answers with an array of half a gigabyte, and with lists inside lists."""

import numpy as np

nested = []
nested.append(nested)


def __getattr__(name):
    def answer(*arguments, **options):
        return nested if len(arguments) % 2 else np.zeros(2**29, np.uint8)

    return answer
