"""Compiled queries: a valid operation becomes a tree of small functions once, and every later request only runs them.

graphql-core walks the document for every field of every row; a plan has done that walking. It calls the same resolvers, through
the same loaders, and writes the same bytes: whatever it does not know how to do it leaves to graphql-core, which is also what
the tests compare it with.
"""
