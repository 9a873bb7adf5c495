"""The page of ``ndx-sim view``, which needs the extra ``view``.

Files are never modified. Only the displayed data are read, reduced by the functions of ``plots``.
"""
