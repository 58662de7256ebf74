"""A token contract asked for `name`, `symbol` and `decimals` by simulateTransaction, and what may be believed of its answers.

Nothing is signed or sent: the transaction has a made-up source and serves to carry the call. Contracts are written by anybody, so
what they return is checked against the caps of spec/ingestion.md 8, and a name that claims to be an asset's must be that of the
contract which the network derives from the asset.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final, NamedTuple

from stellar_sdk import Account, Keypair, TransactionBuilder, xdr

from lumenstream.retry import Failure, Retry
from lumenstream.rpc import RpcClient
from schemas import assets, strkey

MAX_NAME_BYTES: Final = 128
MAX_SYMBOL_BYTES: Final = 32
MAX_DECIMALS: Final = 70
SAC_DECIMALS: Final = 7
_FEE_STROOPS: Final = 100
_TIMEOUT_SECONDS: Final = 300
_MAX_RPC_ERRORS: Final = 3
_MAX_ERROR_CHARACTERS: Final = 300
_NO_SEED: Final = bytes(32)


class Metadata(NamedTuple):
    """`code` and `issuer` (G address) of an asset contract, else None."""

    name: str
    symbol: str
    decimals: int
    code: str | None = None
    issuer: str | None = None


class Refused(Exception):
    """The contract does not tell, or what it tells cannot be believed."""


class TokenCalls:
    """Asks contracts of one network. Safe to share between threads; each call brings its own `retry`."""

    def __init__(self, client: RpcClient, passphrase: str) -> None:
        self._client = client
        self._passphrase = passphrase
        self._network_id = assets.network_id(passphrase)
        self._source = Keypair.from_raw_ed25519_seed(_NO_SEED)

    def sep41(self, contract: str, retry: Retry) -> Metadata:
        """All three, or Refused. UnreachableError when the server stays away, Stopped."""
        name = text_of(self._call(contract, "name", retry), "name", MAX_NAME_BYTES)
        symbol = text_of(self._call(contract, "symbol", retry), "symbol", MAX_SYMBOL_BYTES)
        return Metadata(name, symbol, decimals_of(self._call(contract, "decimals", retry)))

    def asset_contract(self, contract: str, retry: Retry) -> Metadata:
        """The asset behind a contract that its balances alone have shown. Errors as `sep41`."""
        name = text_of(self._call(contract, "name", retry), "name", MAX_NAME_BYTES)
        code, _, issuer = name.partition(":")
        if not strkey.is_account(issuer) or not 1 <= len(code) <= 12 or not code.isascii() or not code.isalnum():
            raise Refused(f"name {name!r} is not CODE:ISSUER")
        kind = assets.ALPHANUM4 if len(code) <= 4 else assets.ALPHANUM12
        if strkey.encode(assets.contract_address(self._network_id, kind, code, strkey.decode(issuer))) != contract:
            raise Refused(f"name {name!r} is an asset whose contract is another one")
        return Metadata(name, code, SAC_DECIMALS, code, issuer)

    def _call(self, contract: str, function: str, retry: Retry) -> xdr.SCVal:
        """What a function without arguments returns."""
        envelope = self._envelope(contract, function)
        errors = 0
        while True:
            try:
                result = self._client.call("simulateTransaction", {"transaction": envelope})
            except Failure as failure:
                errors += failure.kind == "rpc"
                if errors >= _MAX_RPC_ERRORS:  # the server answers, and refuses this one
                    raise Refused(_short(f"{function}: {failure}")) from failure
                retry.failed(f"simulateTransaction at {self._client.server}", failure)
            else:
                retry.succeeded()
                return returned(result, function)

    def _envelope(self, contract: str, function: str) -> str:
        builder = TransactionBuilder(Account(self._source.public_key, 0), self._passphrase, _FEE_STROOPS)
        builder.append_invoke_contract_function_op(contract, function, [])
        return builder.set_timeout(_TIMEOUT_SECONDS).build().to_xdr()


def returned(result: dict[str, Any], function: str) -> xdr.SCVal:
    """The return value in an answer of simulateTransaction. Refused when the call failed, or the answer is none."""
    if result.get("error"):
        raise Refused(_short(f"{function}: {result['error']}"))
    try:
        return xdr.SCVal.from_xdr_bytes(base64.b64decode(result["results"][0]["xdr"], validate=True))
    except (KeyError, IndexError, TypeError, ValueError, EOFError, binascii.Error) as error:
        raise Refused(_short(f"{function}: no return value: {type(error).__name__}: {error}")) from error


def text_of(value: xdr.SCVal, function: str, limit: int) -> str:
    """A String of at most so many bytes of UTF-8, without NUL. Refused otherwise."""
    if value.str is None:
        raise Refused(f"{function} returns {value.type.name}, not a String")
    raw = value.str.sc_string
    if len(raw) > limit:
        raise Refused(f"{function} has {len(raw)} bytes, more than {limit}")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise Refused(f"{function} is not UTF-8") from error
    if "\0" in text:
        raise Refused(f"{function} holds a NUL")
    return text


def decimals_of(value: xdr.SCVal) -> int:
    """A U32 of at most MAX_DECIMALS. Refused otherwise."""
    if value.u32 is None:
        raise Refused(f"decimals returns {value.type.name}, not a U32")
    if value.u32.uint32 > MAX_DECIMALS:
        raise Refused(f"decimals is {value.u32.uint32}, more than {MAX_DECIMALS}")
    return value.u32.uint32


def _short(text: str) -> str:
    """One line that PostgreSQL takes: contracts choose the texts of their errors."""
    return " ".join(text.replace("\0", " ").split())[:_MAX_ERROR_CHARACTERS]
