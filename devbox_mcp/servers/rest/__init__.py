"""The HTTP API (docs/http-api.md): files of devboxes for programs that speak HTTP."""
