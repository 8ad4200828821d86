"""Episodes on disk: reading, generating, windows, export."""
