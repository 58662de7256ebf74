"""A Stellar network in one process, for the demo and the tests: it closes ledgers of real, signed transactions."""

from sandbox.network import ClosedLedger, Sandbox
from sandbox.settings import SandboxSettings
from sandbox.submission import SubmissionRefused

__all__ = ["ClosedLedger", "Sandbox", "SandboxSettings", "SubmissionRefused"]
