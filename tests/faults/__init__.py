"""The rows of the fault tables, each a test or more that is named by the row's number."""
