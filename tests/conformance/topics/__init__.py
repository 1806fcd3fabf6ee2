"""What the contract says, topic by topic."""
