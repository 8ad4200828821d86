"""Metrics, recomputed from stored rows: the published definitions to the bit, and what makes them readable.

Nothing here runs a model or needs NumPy; a number is a function of the rows it is computed from, and comes
with its baseline and its coverage.
"""
