"""The first ledgers of a network: issuers and members are created, members trust the assets, issuers hand them out.

The phases never share a ledger, because transactions are not applied in the order they were thought of.
"""

from collections import deque
from dataclasses import dataclass

from stellar_sdk import Keypair

from sandbox.envelopes import Asset, ChangeTrust, CreateAccount, MuxedAccount, Operation, Payment
from sandbox.keys import Keyring
from sandbox.settings import MAX_OPERATIONS_PER_TRANSACTION, STROOPS_PER_LUMEN

ISSUERS = 2
MEMBER_BALANCE_STROOPS = 10_000 * STROOPS_PER_LUMEN
ISSUER_BALANCE_STROOPS = 100_000 * STROOPS_PER_LUMEN
FIRST_LIMIT_STROOPS = 1_000_000 * STROOPS_PER_LUMEN
FIRST_ISSUE_STROOPS = 5_000 * STROOPS_PER_LUMEN


@dataclass(frozen=True, slots=True)
class Job:
    """A transaction to be: who sends it, its operations, and who signs it besides the sender."""

    source: Keypair
    operations: tuple[Operation, ...]
    co_signers: tuple[Keypair, ...] = ()


def sandbox_assets(keys: Keyring) -> tuple[Asset, ...]:
    """Four assets of two issuers, with short and long codes."""
    first, second = (keys.issuer(index).raw_public_key() for index in range(ISSUERS))
    return Asset("USD", first), Asset("EUR", first), Asset("GOLD", second), Asset("LOYALTYPOINT", second)


class Founding:
    """Hands out the founding jobs, a ledger's worth at a time."""

    def __init__(self, keys: Keyring, members: int) -> None:
        self._keys = keys
        self._assets = sandbox_assets(keys)
        self._phases = deque(
            (deque(self._creations(members)), deque(self._trusts(members)), deque(self._first_issues(members))),
        )

    @property
    def done(self) -> bool:
        return not self._phases

    def take(self, limit: int) -> list[Job]:
        """The next jobs, all of one phase, at most `limit`."""
        if not self._phases or limit == 0:
            return []
        phase = self._phases[0]
        jobs = [phase.popleft() for _ in range(min(limit, len(phase)))]
        if not phase:
            self._phases.popleft()
        return jobs

    def trusted_assets(self, member: int) -> tuple[Asset, ...]:
        """What a member trusts from the start: every fifth one trusts nothing, the others two or three assets."""
        if member % 5 == 4:
            return ()
        count = 2 + member % 2
        return tuple(self._assets[(member + offset) % len(self._assets)] for offset in range(count))

    def _creations(self, members: int) -> list[Job]:
        issuers = [CreateAccount(self._keys.issuer(i).raw_public_key(), ISSUER_BALANCE_STROOPS) for i in range(ISSUERS)]
        others = [CreateAccount(self._keys.member(i).raw_public_key(), MEMBER_BALANCE_STROOPS) for i in range(members)]
        return _jobs(self._keys.root, [Operation(body) for body in issuers + others])

    def _trusts(self, members: int) -> list[Job]:
        jobs = []
        for member in range(members):
            lines = tuple(Operation(ChangeTrust(asset, FIRST_LIMIT_STROOPS)) for asset in self.trusted_assets(member))
            if lines:
                jobs.append(Job(self._keys.member(member), lines))
        return jobs

    def _first_issues(self, members: int) -> list[Job]:
        jobs: list[Job] = []
        for index in range(ISSUERS):
            issuer = self._keys.issuer(index)
            payments = [
                Operation(Payment(MuxedAccount(self._keys.member(member).raw_public_key()), asset, FIRST_ISSUE_STROOPS))
                for member in range(members)
                for asset in self.trusted_assets(member)
                if asset.issuer == issuer.raw_public_key()
            ]
            jobs += _jobs(issuer, payments)
        return jobs


def _jobs(source: Keypair, operations: list[Operation]) -> list[Job]:
    size = MAX_OPERATIONS_PER_TRANSACTION
    return [Job(source, tuple(operations[start : start + size])) for start in range(0, len(operations), size)]
