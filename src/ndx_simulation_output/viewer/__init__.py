"""A page on this machine that shows what files hold: the extra ``view``, the command ``view``.

Nothing is ever written to a file. Only what is shown is read: see ``recording.reduced``.
"""
