"""The pipeline: engine, transfers, data and model stages. Imports no user interface."""
