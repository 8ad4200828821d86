"""Contracts of model branches: what each must be fed, must produce, must prove and may publish.

A contract is a JSON file. Gates, validation and packaging read it; none of them knows a model family by name.
"""
