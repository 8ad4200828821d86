"""Quality of staged episodes: file integrity, clocks, rates, calibration, and what is kept out and why.

`record` is the result, `annotation` and `video` look at one file each, `episode` joins them and compares
streams, `quarantine` keeps the journal of episodes that no later stage may use.
"""
