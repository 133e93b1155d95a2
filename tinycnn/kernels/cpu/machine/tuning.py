"""Constants that decide speed: sizes of tiles, strips and blocks, and thresholds between algorithms.

Each has its unit, what bounds it, and whether it changes bits: a sum that is cut elsewhere is rounded elsewhere, so a
constant that is marked "bits" changes the last digits of results. ``python -m benchmarks.tuning NAME VALUE ...``
measures layers and operations with other values; that is how these were found, on two cores of an AMD EPYC with 32 KiB
of first-level, 512 KiB of second-level and 32 MiB of shared third-level cache.
"""

from __future__ import annotations

# -- threads -----------------------------------------------------------------------------------------------------------

MIN_PARALLEL_ELEMENTS = 2**14
"""Elements of the largest array of a loop. Below, waking a thread (about 5 microseconds) costs more than it saves."""

CHUNKS_PER_THREAD = 8
"""Chunks of a thread's part of a loop. More balance the load better, fewer cost fewer atomic increments."""

SPINS = 2**21
"""Reads of a mailbox before a thread sleeps or lets others run: about half a millisecond, a few pauses of a network."""

MIN_ALIGNED_COUNT = 2**12
"""Tasks of a loop. From here on, loops are cut at multiples of ``ALIGNED_TASKS``."""

ALIGNED_TASKS = 64
"""Elements: whole cache lines of any dtype, so that no two threads write to one line."""

# -- memory ------------------------------------------------------------------------------------------------------------

MIN_BLOCK_BYTES = 2**15
"""Bytes. Smaller arrays come from NumPy, whose allocator keeps them; the search for a free block costs more."""

SLAB_BYTES = 2**25
"""Bytes of the first slab. Larger ones waste memory, smaller ones fragment."""

# -- layout ------------------------------------------------------------------------------------------------------------

INTERLEAVE_CHANNELS = 16
"""Channels that are transposed together: a cache line of floats."""

INTERLEAVE_PIXELS = 64
"""Pixels that are transposed together: 64 pixels x 16 channels x 4 bytes fit the first-level cache."""

MERGED_ROW_ELEMENTS = 256
"""Elements of a row that is made of several pixels of few channels: long enough for a vector loop."""

MIN_COPIED_CHANNELS = 8
"""Channels. With fewer, NumPy's copy of a slice is as fast as ours."""

PREFETCH_DISTANCE = 16
"""Pixels. The latency of memory, about 100 nanoseconds, divided by the time that a pixel takes."""

# -- normalisation, bias, dropout --------------------------------------------------------------------------------------

MOMENT_ROWS = 128
"""Rows of one block of batch norm's sums (bits). They are read twice: 128 rows x 256 floats fit the second level."""

BIAS_ROWS = 256
"""Rows of one block of the bias's gradient (bits). Fewer make more tasks, more make fewer float64 rows to add up."""

DROPOUT_ELEMENTS = 4096
"""Elements of one task of dropout on an array that is not an image: its factors fit the first-level cache."""

DROPOUT_BLOCKS = 64
"""Philox blocks (four words each) that are drawn together: a vector loop over four arrays of 512 bytes."""

DROPOUT_CHANNELS = 16
"""Channels of one task of dropout on an image: one cache line of floats."""

# -- matrix product ----------------------------------------------------------------------------------------------------

BLOCK_K = 256
"""Steps of the inner dimension (bits). A panel of 16 floats x 256 is 16 KiB, half of the first-level cache."""

MATMUL_ROW_TILES = 32
"""Tiles of ROWS rows in a task's block of A: 256 rows x ``BLOCK_K`` floats are 256 KiB, half of the second level."""

MATMUL_COLUMNS = 256
"""Columns of a task's block of B: with ``BLOCK_K`` rows of floats another 256 KiB."""

FEW_ROW_PANELS = 2
"""Panels of LANES rows of A, up to which B is read in place instead of packed (bits): it is then read only once."""

SHALLOW_K_PANELS = 4
"""Multiples of LANES of the inner dimension, up to which C may be written past the caches."""

STREAMED_BYTES = 2**23
"""Bytes of C from which it is written past the caches: more than a core's part of the third level."""

FEW_ROWS_STRIP_TILES = 16
"""Tiles of ROWS columns of B in one task of a product with few rows."""

# -- direct convolution ------------------------------------------------------------------------------------------------

STRIP_BYTES = 192 * 1024
"""Bytes of input rows of one task: under half of the second-level cache, which the weights share."""

GRADIENT_STRIP_PIXELS = 96
"""Output pixels of a strip in the weight's gradient (bits): the strips of x and grad stay in the first two levels."""

GRADIENT_SPLITS = 8
"""Parts of the batch whose weight gradients are summed apart (bits), and tasks that are made at least if possible."""

GRADIENT_ELEMENTS = 2**20
"""Elements of all partial weight gradients together (bits): they are written and read again, 4 MiB of floats."""

# -- Winograd's convolution --------------------------------------------------------------------------------------------

WINOGRAD_BLOCK_ELEMENTS = 160_000
"""Elements of V and M of one block of tiles: 640 KB of floats, the second level and a little of the third."""

WINOGRAD_BLOCK_GROUPS = 3
"""Groups of ROWS tiles of one block: with more, M of one point leaves the first-level cache."""

WINOGRAD_SHARED_ELEMENTS = 3 * 2**20
"""Elements of U that the third-level cache keeps beside others (bits in the weight's gradient): 12 MiB of floats."""

WINOGRAD_LARGE_BLOCK_GROUPS = 16
"""Groups of tiles of one block where U does not stay in the cache: U is then read once for each block."""

WINOGRAD_GRADIENT_ELEMENTS = 2**19
"""Elements of V and A grad A^T that are kept at once (bits), where the gradient itself stays in the cache: 2 MiB."""

WINOGRAD_LARGE_GRADIENT_ELEMENTS = 2**23
"""The same (bits) where it does not, so that the gradient is read and written less often: 32 MiB of floats."""

WINOGRAD_FEW_TILES = 128
"""Tiles up to which a convolution goes panel by panel, if it has many weights: V of all tiles stays in the cache."""

WINOGRAD_MANY_WEIGHTS = 2**15
"""Channels x outputs from which it does: 4.7 MB of U, which is then made a panel at a time."""

WINOGRAD_PANELS = 2
"""Panels of outputs that are computed together, so that V is read from the first level for the second one."""

WINOGRAD_FEW_GRADIENTS = 2**12
"""Channels x outputs below which the weight's gradient is summed in many parts of the tiles (bits)."""

WINOGRAD_MANY_PARTS, WINOGRAD_PARTS = 8, 4
"""Parts of the tiles whose weight gradients are summed apart (bits): each more is another task, and a gradient more to
write and to add up."""

WINOGRAD_PANEL_GRADIENTS = 2**14
"""Channels x outputs below which it is summed in a few parts (bits), and from which on panel by panel of outputs."""

WINOGRAD_GRADIENT_TILES = 8
"""Tiles of ROWS channels of one task of the weight's gradient by panels."""
