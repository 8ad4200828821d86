"""Executors: how one stage command is started on this machine or another."""
