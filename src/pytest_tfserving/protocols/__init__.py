"""Protocols: clients, requests and expected answers over REST and gRPC."""
