"""The MCP door: tools, resources and subscriptions over stdio and streamable HTTP."""
