"""Ways to run one task in a clean process."""
