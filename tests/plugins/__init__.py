"""Fixture plugins, one per concern."""
