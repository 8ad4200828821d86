"""What the logs of stages add up to, for screens: pure folds of events, light to import."""
