"""Moving bytes between hosts over SSH, chunk by chunk, verified."""
