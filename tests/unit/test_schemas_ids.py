"""Addresses, total order ids, asset contracts and UUIDs against known values."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stellar_sdk import Asset, MuxedAccount, StrKey

from schemas import assets, strkey, toid
from schemas.strkey import StrKeyError

USDC_ISSUER = strkey.decode("GA5ZSEJYB37JRC5AVCIA5MOP4RHTM335X2KGX3IHOJAPP5RE34K4KZVN")
PUBLIC = "Public Global Stellar Network ; September 2015"
TESTNET = "Test SDF Network ; September 2015"

PLAIN = (strkey.ACCOUNT, strkey.CONTRACT, strkey.PRE_AUTH_TX, strkey.HASH_X, strkey.LIQUIDITY_POOL)


def signed_payload(key: bytes, payload: bytes) -> bytes:
    padding = bytes(-len(payload) % 4)
    return bytes((strkey.SIGNED_PAYLOAD,)) + key + len(payload).to_bytes(4, "big") + payload + padding


KEYS = st.binary(min_size=32, max_size=32)
ADDRESSES = st.one_of(
    st.builds(lambda version, key: bytes((version,)) + key, st.sampled_from(PLAIN), KEYS),
    st.builds(
        lambda version, key, number: bytes((version,)) + key + number.to_bytes(8, "big"),
        st.sampled_from([strkey.MUXED, strkey.MUXED_CONTRACT]),
        KEYS,
        st.integers(0, (1 << 64) - 1),
    ),
    st.builds(lambda key: bytes((strkey.CLAIMABLE_BALANCE, 0)) + key, KEYS),
    st.builds(signed_payload, KEYS, st.binary(min_size=1, max_size=64)),
)


# --- StrKey -----------------------------------------------------------------------------------------------------------


@given(ADDRESSES)
def test_addresses_survive_text_and_storage(address: bytes) -> None:
    assert strkey.decode(strkey.encode(address)) == address
    form = strkey.storage_form(address)
    assert len(form.account_id) == 33
    assert strkey.from_storage(*form) == strkey.encode(address)


@given(KEYS, st.integers(0, (1 << 64) - 1))
def test_texts_equal_those_of_the_sdk(key: bytes, number: int) -> None:
    assert strkey.encode(bytes((strkey.ACCOUNT,)) + key) == StrKey.encode_ed25519_public_key(key)
    assert strkey.encode(bytes((strkey.CONTRACT,)) + key) == StrKey.encode_contract(key)
    assert strkey.encode(bytes((strkey.LIQUIDITY_POOL,)) + key) == StrKey.encode_liquidity_pool(key)
    assert strkey.encode(bytes((strkey.CLAIMABLE_BALANCE, 0)) + key) == StrKey.encode_claimable_balance(b"\0" + key)
    muxed = MuxedAccount(StrKey.encode_ed25519_public_key(key), number)
    assert strkey.encode(bytes((strkey.MUXED,)) + key + number.to_bytes(8, "big")) == muxed.account_muxed


@pytest.mark.parametrize(
    "text",
    [
        "GA7QYNF7SOWQ3GLR2BGMZEHXAVIRZA4KVWLTJJFC7MGXUA74P7UJVSGZ",
        "MA7QYNF7SOWQ3GLR2BGMZEHXAVIRZA4KVWLTJJFC7MGXUA74P7UJVAAAAAAAAAAAAAJLK",
        "TBU2RRGLXH3E5CQHTD3ODLDF2BWDCYUSSBLLZ5GNW7JXHDIYKXZWHXL7",
        "XBU2RRGLXH3E5CQHTD3ODLDF2BWDCYUSSBLLZ5GNW7JXHDIYKXZWGTOG",
        "PA7QYNF7SOWQ3GLR2BGMZEHXAVIRZA4KVWLTJJFC7MGXUA74P7UJUAAAAAQACAQDAQCQMBYIBEFAWDANBYHRAEISCMKBKFQXDAMRUGY4DUPB6IBZGM",
        "CA7QYNF7SOWQ3GLR2BGMZEHXAVIRZA4KVWLTJJFC7MGXUA74P7UJUWDA",
        "LA7QYNF7SOWQ3GLR2BGMZEHXAVIRZA4KVWLTJJFC7MGXUA74P7UJUPJN",
        "BAAD6DBUX6J22DMZOHIEZTEQ64CVCHEDRKWZONFEUL5Q26QD7R76RGR4TU",
    ],
)
def test_valid_texts_of_sep_23(text: str) -> None:
    assert strkey.encode(strkey.decode(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "G",
        "not an address",
        "GAAAAAAAACGC6",
        "GA7QYNF7SOWQ3GLR2BGMZEHXAVIRZA4KVWLTJJFC7MGXUA74P7UJVSGA",  # checksum
        "ga7qynf7sowq3glr2bgmzehxavirza4kvwltjjfc7mgxua74p7ujvsgz",
        "GA7QYNF7SOWQ3GLR2BGMZEHXAVIRZA4KVWLTJJFC7MGXUA74P7UJVSGZ=",
        "GA7QYNF7SOWQ3GLR2BGMZEHXAVIRZA4KVWLTJJFC7MGXUA74P7UJVSGZAA",
        "MA7QYNF7SOWQ3GLR2BGMZEHXAVIRZA4KVWLTJJFC7MGXUA74P7UJVAAAAAAAAAAAAAJLL",
        "SBCVMMCBEDB64TVJZFYJOJAERZC4YVVUOE6SYR2Y76CBTENGUSGWRRVO",  # a secret seed is no address
        "GÄ7QYNF7SOWQ3GLR2BGMZEHXAVIRZA4KVWLTJJFC7MGXUA74P7UJVSGZ",
    ],
)
def test_invalid_texts(text: str) -> None:
    with pytest.raises(StrKeyError):
        strkey.decode(text)
    assert not strkey.is_account(text)
    assert not strkey.is_contract(text)


@pytest.mark.parametrize(
    "address",
    [
        b"",
        b"\x30",
        bytes(33),
        bytes((strkey.ACCOUNT,)) + bytes(33),
        bytes((strkey.CLAIMABLE_BALANCE, 1)) + bytes(32),
        bytes((strkey.MUXED,)) + bytes(32),
        bytes((strkey.MUXED_CONTRACT,)) + bytes(32),
    ],
)
def test_bytes_that_are_no_address(address: bytes) -> None:
    with pytest.raises(StrKeyError):
        strkey.encode(address)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 63, 64])
def test_signed_payloads_are_padded_with_zeros(length: int) -> None:
    address = signed_payload(bytes(32), b"\xff" * length)
    assert strkey.decode(strkey.encode(address)) == address
    if length % 4:
        with pytest.raises(StrKeyError):
            strkey.encode(address[:-1] + b"\1")


def test_muxed_accounts_have_an_account_and_a_number() -> None:
    muxed = strkey.decode("MA7QYNF7SOWQ3GLR2BGMZEHXAVIRZA4KVWLTJJFC7MGXUA74P7UJVAAAAAAAAAAAAAJLK")
    assert strkey.encode(strkey.account_of(muxed)) == "GA7QYNF7SOWQ3GLR2BGMZEHXAVIRZA4KVWLTJJFC7MGXUA74P7UJVSGZ"
    assert strkey.muxed_id(muxed) == 1 << 63
    assert strkey.muxed_id(USDC_ISSUER) is None
    assert strkey.account_of(USDC_ISSUER) is USDC_ISSUER


def test_muxed_contracts_have_a_number_and_start_with_w() -> None:
    muxed = bytes((strkey.MUXED_CONTRACT,)) + bytes(range(32)) + (5).to_bytes(8, "big")
    assert strkey.encode(muxed)[0] == "W"
    assert strkey.muxed_id(muxed) == 5
    assert strkey.storage_form(muxed) == (muxed[:33], 5, None)


def test_two_muxed_accounts_of_one_key_stay_apart_in_storage() -> None:
    """The reference cuts both to the same 33 bytes (Q27)."""
    first, second = (bytes((strkey.MUXED,)) + bytes(32) + number.to_bytes(8, "big") for number in (1, (1 << 64) - 1))
    assert strkey.storage_form(first).account_id == strkey.storage_form(second).account_id
    assert strkey.storage_form(second).muxed_id == (1 << 64) - 1
    assert strkey.from_storage(*strkey.storage_form(first)) != strkey.from_storage(*strkey.storage_form(second))


def test_a_muxed_account_with_id_0_is_not_stored_as_its_account() -> None:
    muxed = bytes((strkey.MUXED,)) + bytes(40)
    assert strkey.storage_form(muxed) == (muxed[:33], 0, None)
    assert strkey.storage_form(muxed).account_id != strkey.storage_form(strkey.account_of(muxed)).account_id


@pytest.mark.parametrize("column", [b"", bytes(32), bytes(34)])
def test_a_stored_address_has_33_bytes(column: bytes) -> None:
    with pytest.raises(StrKeyError):
        strkey.from_storage(column)


# --- total order ids --------------------------------------------------------------------------------------------------


def test_v1_v2_known_ids() -> None:
    assert toid.transaction_id(4873, 1) == 20929375637504
    assert toid.transaction_id(12345, 1) == 53021371273216
    assert toid.operation_id(53021371273216, 0) == 53021371273217


@given(st.integers(0, toid.MAX_LEDGER), st.integers(0, toid.MAX_TRANSACTION), st.integers(0, toid.MAX_OPERATION - 1))
def test_ids_hold_their_parts(ledger: int, order: int, index: int) -> None:
    to_id = toid.transaction_id(ledger, order)
    operation = toid.operation_id(to_id, index)
    first, after = toid.ledger_range(ledger, ledger)
    assert first <= to_id < operation < after
    assert toid.transaction_of(operation) == to_id
    assert toid.ledger_of(operation) == ledger
    assert operation & toid.OPERATION_MASK == index + 1


@pytest.mark.parametrize(("ledger", "order"), [(-1, 1), (1 << 31, 1), (1, -1), (1, 1 << 20)])
def test_ids_past_their_widths(ledger: int, order: int) -> None:
    with pytest.raises(ValueError, match="no TOID"):
        toid.transaction_id(ledger, order)


@pytest.mark.parametrize("index", [-1, 4095])
def test_operations_past_their_width(index: int) -> None:
    with pytest.raises(ValueError, match="no TOID"):
        toid.operation_id(1 << 12, index)


# --- assets -----------------------------------------------------------------------------------------------------------


def test_v5_namespaces_and_uuids() -> None:
    contract = strkey.decode("CCW67TSZV3SSS2HXMBQ5JFGCKJNXKZM7UQUWUZPUTHXSTZLEO7SJMI75")
    assert str(assets.ASSET_NAMESPACE) == "a244800c-a2d6-57a8-aad0-137ebafcd778"
    assert str(assets.CONTRACT_NAMESPACE) == "ddc2bc85-76af-547e-8696-5af000605938"
    assert str(uuid.UUID(bytes=assets.asset_uuid("USDC", USDC_ISSUER))) == "42251ba8-4c73-5831-bb2f-4b211588ae3f"
    assert str(uuid.UUID(bytes=assets.contract_uuid(contract))) == "5d355bc7-7b11-5f36-8734-698f810aac7c"


@pytest.mark.parametrize(
    ("passphrase", "asset"),
    [
        (PUBLIC, Asset.native()),
        (PUBLIC, Asset("USDC", strkey.encode(USDC_ISSUER))),
        (TESTNET, Asset("A", strkey.encode(USDC_ISSUER))),
        (TESTNET, Asset("LONGERCODE12", strkey.encode(USDC_ISSUER))),
    ],
)
def test_asset_contracts_equal_those_of_the_sdk(passphrase: str, asset: Asset) -> None:
    kind = {"native": assets.NATIVE, "credit_alphanum4": assets.ALPHANUM4, "credit_alphanum12": assets.ALPHANUM12}[asset.type]
    issuer = None if asset.issuer is None else strkey.decode(asset.issuer)
    address = assets.contract_address(assets.network_id(passphrase), kind, asset.code, issuer)
    assert strkey.encode(address) == asset.contract_id(passphrase)
    assert assets.asset_xdr(kind, asset.code, issuer) == asset.to_xdr_object().to_xdr_bytes()


def test_texts_of_assets() -> None:
    assert assets.text("native", None) == "native"
    assert assets.text("USDC", USDC_ISSUER) == "USDC:GA5ZSEJYB37JRC5AVCIA5MOP4RHTM335X2KGX3IHOJAPP5RE34K4KZVN"


def test_codes_that_are_not_text_keep_their_bytes() -> None:
    assert assets.asset_xdr(assets.ALPHANUM4, "A\\xffB", USDC_ISSUER)[4:8] == b"A\xffB\0"
