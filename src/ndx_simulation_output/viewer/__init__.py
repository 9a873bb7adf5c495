"""A page on this machine that shows what files hold (``pip install 'ndx-simulation-output[view]'``).

Nothing is ever written to a file. Only what is shown is read: see ``recording.reduced``.
"""
