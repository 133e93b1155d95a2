"""Deep Compression (Han et al. 2016): prune, share weights, Huffman-code, and one small file at the end.

A file a step: :mod:`.prune`, :mod:`.share`, :mod:`.quantize`, :mod:`.huffman`, :mod:`.container` (the ``.tcz`` file),
and :mod:`.pipeline`, which does all of it to a trained model. ``model.load_state_dict(load("model.tcz"))`` reads one.
"""

from tinycnn.compression.container import load, save
from tinycnn.compression.pipeline import Plan, compress

__all__ = ["Plan", "compress", "load", "save"]
