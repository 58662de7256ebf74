"""The GraphQL types. Instances are made whole from a row; relations are resolved by the request's loaders."""
