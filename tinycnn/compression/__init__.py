"""Deep Compression (Han et al. 2016): prune, share weights, Huffman-code, and one small file at the end.

A file a step: :mod:`.prune`, :mod:`.share`, :mod:`.quantize`, :mod:`.huffman`, :mod:`.container` (the ``.tcz`` file),
and :mod:`.pipeline`, which does all of it to a trained model. ``model.load("model.tcz")`` reads one.
"""
