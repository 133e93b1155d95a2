"""Planted mistakes: realistic one-line mistakes, each of which the tests of its own module must notice."""
