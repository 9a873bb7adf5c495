"""Plan, write and read matrices (time, column) in files."""
