"""NEST: text files of its recording devices."""
