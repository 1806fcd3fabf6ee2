"""Compare this server with the official filesystem server: the same files, the same client, the same run."""
