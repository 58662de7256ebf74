"""The database schema: plain SQL, up and down, and the runner that applies it."""
