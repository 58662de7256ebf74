"""The servers that integration tests run against, and the choice between the ways to have them."""
