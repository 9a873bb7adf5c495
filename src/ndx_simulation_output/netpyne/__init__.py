"""NetPyNE: the JSON files that it saves."""
