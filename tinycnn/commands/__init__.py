"""Commands with actions of their own: a module each, whose ``add_...`` function :mod:`tinycnn.cli` calls."""
