"""The official conformance suite against the real server, with the suite's fixtures loaded beside the real tools."""
