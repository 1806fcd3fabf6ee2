"""The sync face of the SDK, thin over the asynchronous one. ``reading``, ``changing`` and ``transferring`` are made by
``tools/sync_face.py``."""
