"""What a sandbox network can be told: its name, its seed, how busy it is and when its clock starts.

Everything the network does follows from these values alone, so two sandboxes with equal settings close equal ledgers,
byte for byte. Fees, reserves and the protocol are fixed: they are those of the public network.
"""

from dataclasses import dataclass

PROTOCOL_VERSION = 23
BASE_FEE_STROOPS = 100
BASE_RESERVE_STROOPS = 5_000_000
TOTAL_COINS_STROOPS = 1_000_000_000_000_000_000
STROOPS_PER_LUMEN = 10_000_000
MAX_OPERATIONS_PER_TRANSACTION = 100
MAX_TRANSACTIONS_PER_LEDGER = 1_000
MAX_ACCOUNTS = 5_000


@dataclass(frozen=True)
class SandboxSettings:
    """`seed` chooses keys and traffic; `accounts` is how many exist after the founding ledgers (more are created later).

    `transactions_per_ledger` counts generated transactions; 0 leaves the network to submitted ones. `close_seconds` is the
    pace a caller should keep; close times move by whole seconds, at least one per ledger. `max_queued_operations` bounds
    what `Sandbox.submit` may hold for the next ledger.
    """

    network_passphrase: str = "Lumenstream Sandbox Network"
    seed: int = 1
    close_seconds: float = 1.0
    transactions_per_ledger: int = 20
    start_close_time: int = 1_767_225_600
    accounts: int = 50
    max_queued_operations: int = 500

    def __post_init__(self) -> None:
        if not self.network_passphrase:
            raise ValueError("the network passphrase is empty")
        if not 0 <= self.seed < 1 << 63:
            raise ValueError(f"seed {self.seed} is not in 0..2^63-1")
        if self.close_seconds <= 0:
            raise ValueError(f"close_seconds {self.close_seconds} is not positive")
        if not 0 <= self.transactions_per_ledger <= MAX_TRANSACTIONS_PER_LEDGER:
            raise ValueError(f"transactions_per_ledger {self.transactions_per_ledger} is not in 0..{MAX_TRANSACTIONS_PER_LEDGER}")
        if not 2 <= self.accounts <= MAX_ACCOUNTS:
            raise ValueError(f"accounts {self.accounts} is not in 2..{MAX_ACCOUNTS}")
        if self.start_close_time < 0 or self.max_queued_operations < 0:
            raise ValueError("start_close_time and max_queued_operations cannot be negative")

    @property
    def step_seconds(self) -> int:
        """Whole seconds between two close times."""
        return max(1, round(self.close_seconds))

    @property
    def max_tx_set_operations(self) -> int:
        """The header's maxTxSetSize: no ledger of this network can hold more operations."""
        return self.transactions_per_ledger * MAX_OPERATIONS_PER_TRANSACTION + self.max_queued_operations

    def close_time(self, sequence: int) -> int:
        """Close time of a ledger, in Unix seconds."""
        return self.start_close_time + (sequence - 1) * self.step_seconds
