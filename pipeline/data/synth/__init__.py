"""Generated episodes in the exact format, whose pictures, sound and motion carry their labels."""
