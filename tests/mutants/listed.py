"""The planted mistakes, room by room."""

from tests.mutants import compute, courses, files, kernels, missed, networks, outside
from tests.mutants.mutant import Mutant

LISTED: tuple[Mutant, ...] = (
    *compute.MUTANTS,
    *files.MUTANTS,
    *outside.MUTANTS,
    *missed.MUTANTS,
    *kernels.MUTANTS,
    *networks.MUTANTS,
    *courses.MUTANTS,
)

# Mistakes that no test notices, each with the reason above it.
SURVIVORS: tuple[Mutant, ...] = ()
