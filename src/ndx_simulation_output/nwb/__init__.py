"""Everything that knows pynwb: the types, and how a recording becomes a file and back."""
