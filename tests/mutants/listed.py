"""The planted mistakes, room by room."""

from tests.mutants import compute, files, outside
from tests.mutants.mutant import Mutant

LISTED: tuple[Mutant, ...] = (*compute.MUTANTS, *files.MUTANTS, *outside.MUTANTS)

# Mistakes that no test notices, each with the reason above it.
SURVIVORS: tuple[Mutant, ...] = ()
