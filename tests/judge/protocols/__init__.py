"""Pairs of expressions that mean the same, and the differences, a file a protocol."""
