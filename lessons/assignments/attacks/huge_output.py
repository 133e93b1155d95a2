"""Prints without end."""

import sys

while True:
    sys.stdout.write("x" * 2**20)
    sys.stderr.write("y" * 2**20)
