"""Checks of one raw ledger before it is sent: its header, the header's hash, its place in the chain.

The bytes themselves are never changed. What a ledger's hash is: SHA-256 of the XDR of its LedgerHeader.
"""

from __future__ import annotations

import hashlib
from struct import Struct
from typing import Final

from lumenstream import metrics
from lumenstream.errors import IntegrityError
from lumenstream.logs import get_logger
from lumenstream.xdr import LedgerContentError, LedgerDecodeError, decode_ledger, read_header
from lumenstream.xdr.rows import LedgerHeader
from producers.sources.port import SourceLedger

# The newest protocol among the ledgers that the decoder is tested on.
MAX_KNOWN_PROTOCOL: Final = 28

_UINT: Final = Struct(">I")
_HASH: Final = 32
_SCP_FIXED: Final = _HASH + 8  # StellarValue: transaction set hash, close time
_SIGNED: Final = 1  # StellarValue ext: node id and signature follow
_NODE_ID: Final = 4 + 32
# LedgerHeader after scpValue and before its ext: two hashes, seq, totalCoins, feePool, inflationSeq, idPool, baseFee,
# baseReserve, maxTxSetSize, four skip-list hashes.
_TAIL_FIXED: Final = 2 * _HASH + 4 + 8 + 8 + 4 + 8 + 4 + 4 + 4 + 4 * _HASH
_HEADER_EXT_V1: Final = 8  # flags, ext

_log = get_logger("producer")


def checked_header(ledger: SourceLedger) -> LedgerHeader:
    """The header of a ledger that is what it says: readable, of its sequence, its hash true. IntegrityError says what is not."""
    try:
        header = read_header(ledger.data)
    except LedgerDecodeError as error:
        raise IntegrityError(f"{ledger.place}: not a ledger: {error}", hint="the source is damaged: fetch it again") from error
    if header.sequence != ledger.sequence:
        raise IntegrityError(f"{ledger.place}: the data is of ledger {header.sequence}, the source says {ledger.sequence}")
    if hashlib.sha256(header_bytes(ledger.data)).digest() != header.hash:
        raise IntegrityError(
            f"{ledger.place}: the hash {header.hash.hex()} is not that of the header of ledger {ledger.sequence}"
        )
    return header


def header_bytes(data: bytes) -> memoryview:
    """The XDR of the LedgerHeader in a LedgerCloseMeta that `read_header` has accepted."""
    view = memoryview(data)
    at = 4
    if _uint(data, 0) > 0:  # LedgerCloseMetaV1 and V2 begin with LedgerCloseMetaExt, whose V1 holds (ext, fee per kilobyte)
        at += 4 + (12 if _uint(data, at) else 0)
    start = at = at + _HASH
    at += 4 + _HASH + _SCP_FIXED
    upgrades = _uint(data, at)
    at += 4
    for _ in range(upgrades):
        at += 4 + (_uint(data, at) + 3 & ~3)
    signed = _uint(data, at) == _SIGNED
    at += 4
    if signed:
        at += _NODE_ID
        at += 4 + (_uint(data, at) + 3 & ~3)
    at += _TAIL_FIXED
    at += 4 + (_HEADER_EXT_V1 if _uint(data, at) else 0)
    return view[start:at]


def _uint(data: bytes, at: int) -> int:
    return int(_UINT.unpack_from(data, at)[0])


class NetworkCheck:
    """Ledgers carry no network id, but transaction hashes do: one ledger with transactions, fully decoded, proves the network.

    An RPC server is asked for its network as well; the sandbox is built with the configured passphrase.
    """

    def __init__(self, network_id: bytes) -> None:
        self._network_id = network_id
        self._proved = False

    def check(self, ledger: SourceLedger) -> None:
        """IntegrityError when the transactions are not of this network. Undecodable bodies are left to the processors."""
        if self._proved:
            return
        try:
            self._proved = len(decode_ledger(ledger.data, self._network_id).transactions) > 0
        except LedgerContentError as error:
            raise IntegrityError(
                f"{ledger.place}: not a ledger of the configured network, or one that contradicts itself: {error}",
                hint="is LUMENSTREAM_NETWORK__NAME or __PASSPHRASE that of the source?",
            ) from error
        except LedgerDecodeError as error:
            _log.warning("ledger body cannot be decoded, sending it as it is", place=ledger.place, error=str(error))


class ProtocolCheck:
    """A protocol this program does not know is reported once and sent on: the processors say whether they can read it."""

    def __init__(self) -> None:
        self._reported = MAX_KNOWN_PROTOCOL

    def check(self, header: LedgerHeader) -> None:
        if header.protocol_version > MAX_KNOWN_PROTOCOL:
            metrics.SOURCE_ERRORS.labels("unknown_protocol").inc()
        if header.protocol_version > self._reported:
            self._reported = header.protocol_version
            _log.warning(
                "protocol newer than this program knows: plan an upgrade",
                protocol=header.protocol_version,
                known=MAX_KNOWN_PROTOCOL,
                ledger=header.sequence,
            )


def check_chain(previous_sequence: int, previous_hash: str, header: LedgerHeader, place: str) -> None:
    """IntegrityError when the ledger right after another does not name that one's hash."""
    if header.sequence == previous_sequence + 1 and header.previous_hash.hex() != previous_hash:
        raise IntegrityError(
            f"{place}: ledger {header.sequence} follows hash {header.previous_hash.hex()}, "
            f"but ledger {previous_sequence} has hash {previous_hash}",
            hint="two histories are mixed: is the topic of another network or of another sandbox seed?",
        )
