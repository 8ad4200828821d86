"""The terminal itself: what it can show, how cells reach it, and how it is left as it was found."""
