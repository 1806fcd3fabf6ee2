"""The framed session with the guest: its source sent, its frames spoken, one connection kept warm."""
