"""Reports a person reads: the original's Markdown lines, and one self-contained HTML page with plots."""
