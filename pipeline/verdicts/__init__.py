"""Whether a run's evidence supports its claims: checks over what stages published (formats 2.8)."""
