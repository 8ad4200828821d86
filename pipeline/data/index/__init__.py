"""The neutral window index: one record per window that belongs to no backbone.

`record` is the contract, `roots` makes paths relative, `build` converts a dataset, `validate` checks a
finished index. Nothing here opens media; all of it streams.
"""
