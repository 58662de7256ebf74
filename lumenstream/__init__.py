"""The ground floor of Lumenstream: settings, logging, metrics, clients, ledger decoding and the command line."""

__version__ = "0.1.0"
