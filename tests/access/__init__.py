"""Who comes in, how far, and what is left in the log of who does not."""
