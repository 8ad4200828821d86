"""Windows as observation and action: targets of one declared kind, normalised by the train split alone."""
