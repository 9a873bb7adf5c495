"""The engine: how matrices (time, column) are laid out in files, written and read fast."""
