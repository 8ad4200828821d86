"""What an operator sees: Textual screens and widgets over snapshots of the engine."""
