"""The manifest: bytes or JSON in, products and row errors out. Pure."""
