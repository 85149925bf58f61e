"""The REST API and its stores. Knows the firewall, and nothing knows it."""
