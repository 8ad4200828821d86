"""The episode manifest: every usable episode with its split, files, modalities and label counts.

`record` is the file format (the published one), `describe` reads one episode, `build` makes a manifest from a
selection or, loudly, from a new random split; `checks` is its gate.
"""
