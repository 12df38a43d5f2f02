"""What every service may import: states, tables, messages, and access to database, broker, blobs and network."""
