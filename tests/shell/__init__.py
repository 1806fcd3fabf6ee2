"""The shell dialect beyond the conformance suite."""
