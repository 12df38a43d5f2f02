"""Takes a manifest in: HTTP to rows in one transaction."""
