"""Pure values and decisions: no files, no clock, no environment, no Jupyter."""
