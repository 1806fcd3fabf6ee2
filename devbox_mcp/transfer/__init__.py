"""Big transfers on a warm session: in chunks, resumed when the connection breaks, compressed where that pays.

``uploads.py`` and ``downloads.py`` move one file; ``packing.py`` decides about compression and does it.
"""
