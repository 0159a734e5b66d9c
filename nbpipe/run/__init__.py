"""Carrying out a plan: the runner, its event log and its lock."""
