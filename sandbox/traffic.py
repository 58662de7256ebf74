"""What the network's members do in a ledger: pay, issue, redeem, trust, create accounts, and now and then fail.

A recipe looks at the state before the ledger and draws from a generator seeded by (seed, sequence), so the same ledger is
always drawn the same way. Recipes that mean to fail are marked; others may fail too when two transactions meet.
"""

from collections.abc import Callable
from random import Random

from stellar_sdk import Keypair

from sandbox.envelopes import NATIVE, Asset, ChangeTrust, CreateAccount, MuxedAccount, Operation, OperationBody, Payment
from sandbox.founding import FIRST_LIMIT_STROOPS, MEMBER_BALANCE_STROOPS, Job, sandbox_assets
from sandbox.keys import Keyring
from sandbox.settings import STROOPS_PER_LUMEN
from sandbox.state import Layer, TrustLine

_MAX_PAYMENTS = 4
_MUXED_SHARE = 0.1
_GROWTH_FACTOR = 20
_LOW_BALANCE_STROOPS = 20 * STROOPS_PER_LUMEN
_NEW_ACCOUNT_STROOPS = 25 * STROOPS_PER_LUMEN
_ONE_MILLION_LUMENS = 1_000_000 * STROOPS_PER_LUMEN

Recipe = Callable[[Layer, Random, int], tuple[OperationBody, ...]]


class Traffic:
    """Draws jobs. `members` counts the accounts created so far, founding members first."""

    def __init__(self, keys: Keyring, members: int) -> None:
        self._keys = keys
        self._assets = sandbox_assets(keys)
        self._members = members
        self._most_members = members * _GROWTH_FACTOR
        recipes: list[tuple[Recipe, int]] = [
            (self._pay_lumens, 38),
            (self._pay_asset, 26),
            (self._redeem, 4),
            (self._create_account, 5),
            (self._trust, 7),
            (self._leave_asset, 3),
            (self._fail_without_destination_line, 3),
            (self._fail_without_source_line, 1),
            (self._fail_underfunded, 2),
            (self._fail_existing_account, 1),
            (self._fail_low_reserve, 1),
            (self._fail_no_destination, 1),
            (self._fail_line_full, 1),
            (self._fail_limit, 1),
        ]
        self._recipes = [recipe for recipe, _ in recipes]
        self._weights = [weight for _, weight in recipes]

    def job(self, state: Layer, rng: Random) -> Job:
        """One transaction's worth of operations."""
        kind = rng.random()
        if kind < 0.05:
            return self._issue(state, rng)
        sender = self._pick(state, rng)
        if not self._is_solvent(state, sender):
            top_up = Payment(MuxedAccount(self._key(sender)), NATIVE, MEMBER_BALANCE_STROOPS)
            return Job(self._keys.root, (Operation(top_up),))
        if kind < 0.09:
            return self._settle_together(state, rng, sender)
        recipe = rng.choices(self._recipes, self._weights)[0]
        bodies = recipe(state, rng, sender)
        return Job(self._keys.member(sender), tuple(Operation(body) for body in bodies))

    def sponsor(self, state: Layer, rng: Random) -> Keypair:
        """Who pays for a fee bump: a member that has plenty, else the root."""
        member = self._pick(state, rng)
        return self._keys.member(member) if self._is_solvent(state, member) else self._keys.root

    def _is_solvent(self, state: Layer, member: int) -> bool:
        account = state.account(self._key(member))
        return account is not None and account.available >= _LOW_BALANCE_STROOPS

    def _key(self, member: int) -> bytes:
        return self._keys.member(member).raw_public_key()

    def _pick(self, state: Layer, rng: Random) -> int:
        """A member that exists: a creation may have failed, then the draw is repeated."""
        for _ in range(8):
            member = rng.randrange(self._members)
            if state.account(self._key(member)) is not None:
                return member
        return 0

    def _pick_other(self, state: Layer, rng: Random, member: int) -> int:
        other = self._pick(state, rng)
        return other if other != member else int(member == 0)

    def _destination(self, account: bytes, rng: Random) -> MuxedAccount:
        return MuxedAccount(account, rng.randrange(1, 1 << 48) if rng.random() < _MUXED_SHARE else None)

    def _lines(self, state: Layer, member: int) -> list[TrustLine]:
        found = (state.trustline(self._key(member), asset) for asset in self._assets)
        return [line for line in found if line is not None]

    def _holder(self, state: Layer, rng: Random, asset: Asset, trusts: bool) -> bytes | None:
        """A member that trusts the asset, or one that does not; None when eight draws find nobody."""
        for _ in range(8):
            account = self._key(self._pick(state, rng))
            if (state.trustline(account, asset) is not None) is trusts:
                return account
        return None

    # Recipes that should succeed.

    def _pay_lumens(self, state: Layer, rng: Random, sender: int) -> tuple[OperationBody, ...]:
        payments = []
        for _ in range(rng.randint(1, _MAX_PAYMENTS)):
            receiver = self._destination(self._key(self._pick(state, rng)), rng)
            payments.append(Payment(receiver, NATIVE, rng.randint(1, 2 * STROOPS_PER_LUMEN)))
        return tuple(payments)

    def _pay_asset(self, state: Layer, rng: Random, sender: int) -> tuple[OperationBody, ...]:
        lines = [line for line in self._lines(state, sender) if line.balance > 100]
        if not lines:
            return self._trust(state, rng, sender)
        payments: list[OperationBody] = []
        for _ in range(rng.randint(1, _MAX_PAYMENTS)):
            line = rng.choice(lines)
            receiver = self._holder(state, rng, line.asset, trusts=True)
            if receiver is not None:
                payments.append(Payment(self._destination(receiver, rng), line.asset, rng.randint(1, line.balance // 10)))
        return tuple(payments) or self._pay_lumens(state, rng, sender)

    def _redeem(self, state: Layer, rng: Random, sender: int) -> tuple[OperationBody, ...]:
        lines = [line for line in self._lines(state, sender) if line.balance > 10]
        if not lines:
            return self._pay_lumens(state, rng, sender)
        line = rng.choice(lines)
        return (Payment(MuxedAccount(line.asset.issuer), line.asset, rng.randint(1, line.balance // 2)),)

    def _create_account(self, state: Layer, rng: Random, sender: int) -> tuple[OperationBody, ...]:
        if self._members >= self._most_members:
            return self._pay_lumens(state, rng, sender)
        newcomer = self._key(self._members)
        self._members += 1
        return (CreateAccount(newcomer, _NEW_ACCOUNT_STROOPS + rng.randrange(STROOPS_PER_LUMEN)),)

    def _trust(self, state: Layer, rng: Random, sender: int) -> tuple[OperationBody, ...]:
        """A line to a new asset, or another limit for one the sender has."""
        asset = rng.choice(self._assets)
        line = state.trustline(self._key(sender), asset)
        if line is None:
            return (ChangeTrust(asset, FIRST_LIMIT_STROOPS),)
        return (ChangeTrust(asset, line.balance * 2 + rng.randint(1_000, 100_000) * STROOPS_PER_LUMEN),)

    def _leave_asset(self, state: Layer, rng: Random, sender: int) -> tuple[OperationBody, ...]:
        """Give everything back to the issuer and close the line."""
        lines = self._lines(state, sender)
        if not lines:
            return self._trust(state, rng, sender)
        line = rng.choice(lines)
        close = ChangeTrust(line.asset, 0)
        if line.balance == 0:
            return (close,)
        return Payment(MuxedAccount(line.asset.issuer), line.asset, line.balance), close

    def _issue(self, state: Layer, rng: Random) -> Job:
        asset = rng.choice(self._assets)
        issuer = next(key for key in (self._keys.issuer(0), self._keys.issuer(1)) if key.raw_public_key() == asset.issuer)
        receivers = [self._holder(state, rng, asset, trusts=True) for _ in range(rng.randint(1, _MAX_PAYMENTS))]
        payments = [
            Operation(Payment(self._destination(receiver, rng), asset, rng.randint(1, 500 * STROOPS_PER_LUMEN)))
            for receiver in receivers
            if receiver is not None
        ]
        if not payments:
            payments = [Operation(Payment(MuxedAccount(self._key(0)), NATIVE, STROOPS_PER_LUMEN))]
        return Job(issuer, tuple(payments))

    def _settle_together(self, state: Layer, rng: Random, sender: int) -> Job:
        """One transaction, two sources: a payment each way between the sender and a partner, signed by both."""
        partner = self._pick(state, rng)
        there = Payment(MuxedAccount(self._key(partner)), NATIVE, rng.randint(1, STROOPS_PER_LUMEN))
        back = Payment(MuxedAccount(self._key(sender)), NATIVE, rng.randint(1, STROOPS_PER_LUMEN))
        operations = (Operation(there), Operation(back, MuxedAccount(self._key(partner))))
        partners = () if partner == sender else (self._keys.member(partner),)
        return Job(self._keys.member(sender), operations, partners)

    # Recipes that should fail. The first operation often succeeds, so that a failed transaction holds successes too.

    def _fail_without_destination_line(self, state: Layer, rng: Random, sender: int) -> tuple[OperationBody, ...]:
        asset = rng.choice(self._assets)
        stranger = self._holder(state, rng, asset, trusts=False)
        if stranger is None:
            return self._fail_underfunded(state, rng, sender)
        first = self._pay_lumens(state, rng, sender)[0]
        return first, Payment(MuxedAccount(stranger), asset, STROOPS_PER_LUMEN)

    def _fail_without_source_line(self, state: Layer, rng: Random, sender: int) -> tuple[OperationBody, ...]:
        untrusted = [asset for asset in self._assets if state.trustline(self._key(sender), asset) is None]
        if not untrusted:
            return self._fail_underfunded(state, rng, sender)
        asset = rng.choice(untrusted)
        return (Payment(MuxedAccount(self._holder(state, rng, asset, trusts=True) or asset.issuer), asset, 1),)

    def _fail_underfunded(self, state: Layer, rng: Random, sender: int) -> tuple[OperationBody, ...]:
        lines = self._lines(state, sender)
        if lines and rng.random() < 0.5:
            line = rng.choice(lines)
            return (Payment(MuxedAccount(line.asset.issuer), line.asset, line.balance + FIRST_LIMIT_STROOPS),)
        receiver = self._key(self._pick_other(state, rng, sender))
        return (Payment(MuxedAccount(receiver), NATIVE, _ONE_MILLION_LUMENS),)

    def _fail_existing_account(self, state: Layer, rng: Random, sender: int) -> tuple[OperationBody, ...]:
        return (CreateAccount(self._key(self._pick_other(state, rng, sender)), _NEW_ACCOUNT_STROOPS),)

    def _fail_low_reserve(self, state: Layer, rng: Random, sender: int) -> tuple[OperationBody, ...]:
        nobody = rng.randbytes(32)
        return (CreateAccount(nobody, rng.randrange(STROOPS_PER_LUMEN)),)

    def _fail_no_destination(self, state: Layer, rng: Random, sender: int) -> tuple[OperationBody, ...]:
        first = self._pay_lumens(state, rng, sender)[0]
        return Payment(MuxedAccount(rng.randbytes(32)), NATIVE, STROOPS_PER_LUMEN), first

    def _fail_line_full(self, state: Layer, rng: Random, sender: int) -> tuple[OperationBody, ...]:
        """Lower the own limit to the balance, then receive more than that from oneself."""
        lines = [line for line in self._lines(state, sender) if line.balance > 0]
        if not lines:
            return self._fail_no_destination(state, rng, sender)
        line = rng.choice(lines)
        return ChangeTrust(line.asset, line.balance), Payment(MuxedAccount(self._key(sender)), line.asset, 1)

    def _fail_limit(self, state: Layer, rng: Random, sender: int) -> tuple[OperationBody, ...]:
        """Close a line that still holds something, or one that never existed."""
        return (ChangeTrust(rng.choice(self._lines(state, sender) or [TrustLine(b"", self._assets[0], 0, 0)]).asset, 0),)
