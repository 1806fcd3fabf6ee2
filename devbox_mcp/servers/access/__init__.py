"""Who may come in over HTTP, and what for: keys, tokens of issuers, signed URLs, and the hosts that are served."""
