"""The Qwen3-Omni branch: samples, processor, model, adapter. Everything that knows this model family.

The thinker alone is used: it loads from the published checkpoint, and the branch needs text, not speech.
"""
