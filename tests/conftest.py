"""Loads the fixture plugins; a concern's fixtures are in its plugin."""

_CONCERNS = ("browser", "chaos", "golden", "parallel", "paths", "proxy", "s3", "servers")

pytest_plugins = ["pytester", *(f"tests.plugins.{concern}" for concern in _CONCERNS)]
