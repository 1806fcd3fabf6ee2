"""The guest: every operation on files, performed beside them and beneath one directory handle.

Standard library only, Python 3.8 and newer, and it imports nothing of the project: in process it is the local
backend, and its source is what travels into a container. ``Root`` is the handle, ``Policy`` what the operator
forbids; the rooms are functions over a Root that answer plain JSON and raise ``GuestError``.
"""
