"""What may leave this place: built from an allow-list, looked into, redacted, and audited again."""
