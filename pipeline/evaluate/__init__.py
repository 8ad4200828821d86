"""Evaluation: questions of a held-out split, each answered once by whichever shard lives.

Knows no model. A backend is an `Answerer`, chosen by name.
"""
