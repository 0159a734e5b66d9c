"""What is on the disk: the spec, sources, records and products."""
