"""Web page of ``ndx-sim view``; requires the optional dependencies ``view``.

Files are never modified. Only displayed data are read, and downsampled by functions of ``plots``.
"""
