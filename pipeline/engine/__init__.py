"""The engine: run directories, processes, events, states, plans. Knows no stage and no heavy library."""
