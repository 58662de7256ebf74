"""Loads the fixture plugins; a concern's fixtures are in its plugin."""

pytest_plugins = ["pytester", "tests.plugins.chaos", "tests.plugins.paths", "tests.plugins.proxy", "tests.plugins.servers"]
