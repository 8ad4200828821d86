"""Stand-ins for the outer edge (a Hub, an SSH host), for the demo and the tests."""
