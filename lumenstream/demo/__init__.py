"""The whole pipeline on one machine, every role a child process.

`lumenstream up` runs it against servers of your own, `lumenstream demo` with embedded ones.
"""
