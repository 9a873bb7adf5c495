"""The files and arrays that are worked on, all made up here."""
