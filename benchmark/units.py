"""Units for the display of numbers."""

GIB = 2**30
"""Bytes per GiB."""
