"""The stages an operator can run, one thin module each."""
