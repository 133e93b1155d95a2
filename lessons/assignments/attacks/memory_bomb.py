"""Takes all memory. Needs: memory."""

import numpy as np

hoard = []


def __getattr__(name):
    def answer(*arguments, **options):
        size = 2**30
        while size:
            try:
                hoard.append(np.ones(size, np.uint8))
            except MemoryError:
                size //= 2
        return 0

    return answer
