//! Addresses (StrKey version byte, then the payload), assets, text that repeats, and balance ids.

use crate::python::{Built, bytes, pack, string, text};
use crate::rows::{Builder, Row};
use crate::xdr::{
    Asset, AssetCode, ChangeTrustAsset, ClaimableBalanceID, LiquidityPoolConstantProductParameters,
    LiquidityPoolParameters, MuxedAccount, Price, PublicKey, SCAddress, SignerKey, TrustLineAsset,
};

const ACCOUNT: u8 = 6 << 3;
const CLAIMABLE_BALANCE: u8 = 1 << 3;
const CONTRACT: u8 = 2 << 3;
const HASH_X: u8 = 23 << 3;
const LIQUIDITY_POOL: u8 = 11 << 3;
const MUXED_ACCOUNT: u8 = 12 << 3;
const MUXED_CONTRACT: u8 = 22 << 3;
const PRE_AUTH_TX: u8 = 19 << 3;
const SIGNED_PAYLOAD: u8 = 15 << 3;

const NATIVE: i32 = 0;
const ALPHANUM4: i32 = 1;
const ALPHANUM12: i32 = 2;
const POOL_SHARE: i32 = 3;

/// Lower-case hexadecimal digits.
pub fn hex(data: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    data.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| DIGITS[usize::from(digit)] as char).collect()
}

/// An asset code without its zero padding; bytes that are not UTF-8 as \xNN.
fn code_text(padded: &[u8]) -> String {
    let length = padded.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let mut code = String::with_capacity(12);
    for chunk in padded[..length].utf8_chunks() {
        code.push_str(chunk.valid());
        for byte in chunk.invalid() {
            code.push_str("\\x");
            code.push_str(&hex(&[*byte]));
        }
    }
    code
}

impl<'py, 'a> Builder<'py, 'a> {
    fn address(&self, version: u8, key: &'a [u8; 32]) -> Built<'py> {
        self.addresses.get((version, key), || {
            let mut address = [version; 33];
            address[1..].copy_from_slice(key);
            bytes(self.py, &address)
        })
    }

    fn long_address(&self, version: u8, parts: &[&[u8]]) -> Built<'py> {
        let mut address = vec![version];
        parts.iter().for_each(|part| address.extend_from_slice(part));
        bytes(self.py, &address)
    }

    pub fn account_key(&self, key: &'a [u8; 32]) -> Built<'py> {
        self.address(ACCOUNT, key)
    }

    pub fn account(&self, account: &PublicKey<'a>) -> Built<'py> {
        let PublicKey::PublicKeyTypeEd25519(key) = account;
        self.address(ACCOUNT, key)
    }

    pub fn contract(&self, contract_id: &'a [u8; 32]) -> Built<'py> {
        self.address(CONTRACT, contract_id)
    }

    /// The address of a contract id that was computed and does not stand in the message.
    pub fn computed_contract(&self, contract_id: &[u8; 32]) -> Built<'py> {
        self.long_address(CONTRACT, &[contract_id])
    }

    pub fn muxed(&self, account: &MuxedAccount<'a>) -> Built<'py> {
        match account {
            MuxedAccount::Ed25519(key) => self.address(ACCOUNT, key),
            MuxedAccount::MuxedEd25519(m) => self.long_address(MUXED_ACCOUNT, &[m.ed25519, &m.id.to_be_bytes()]),
        }
    }

    pub fn sc_address(&self, address: &SCAddress<'a>) -> Built<'py> {
        match address {
            SCAddress::Account(account) => self.account(account),
            SCAddress::Contract(id) => self.address(CONTRACT, id),
            SCAddress::MuxedAccount(m) => self.long_address(MUXED_ACCOUNT, &[m.ed25519, &m.id.to_be_bytes()]),
            SCAddress::ClaimableBalance(ClaimableBalanceID::ClaimableBalanceIdTypeV0(hash)) => {
                self.long_address(CLAIMABLE_BALANCE, &[&[0], *hash])
            }
            SCAddress::LiquidityPool(id) => self.address(LIQUIDITY_POOL, id),
            SCAddress::MuxedContract(m) => self.long_address(MUXED_CONTRACT, &[m.contract_id, &m.id.to_be_bytes()]),
        }
    }

    pub fn signer_key(&self, key: &SignerKey<'a>) -> Built<'py> {
        match key {
            SignerKey::Ed25519(key) => self.address(ACCOUNT, key),
            SignerKey::PreAuthTx(key) => self.address(PRE_AUTH_TX, key),
            SignerKey::HashX(key) => self.address(HASH_X, key),
            SignerKey::Ed25519SignedPayload(signed) => {
                let padding = &[0; 3][..signed.payload.len().wrapping_neg() % 4];
                let length = (signed.payload.len() as u32).to_be_bytes();
                self.long_address(SIGNED_PAYLOAD, &[signed.ed25519, &length, signed.payload, padding])
            }
        }
    }

    /// Hex of the XDR union: eight digits of type, 64 of hash.
    pub fn balance_id(&self, id: &ClaimableBalanceID<'a>) -> Built<'py> {
        let ClaimableBalanceID::ClaimableBalanceIdTypeV0(hash) = id;
        string(self.py, &("00000000".to_owned() + &hex(*hash)))
    }

    pub fn symbol(&self, data: &'a [u8]) -> Built<'py> {
        self.symbols.get(data, || text(self.py, data))
    }

    fn native(&self) -> Built<'py> {
        static NO_ISSUER: [u8; 32] = [0; 32];
        self.assets.get((b"", &NO_ISSUER), || {
            self.row(Row::Asset, [self.int(NATIVE)?, string(self.py, "native")?, self.none.clone()])
        })
    }

    fn credit(&self, kind: i32, code: &'a [u8], issuer: &PublicKey<'a>) -> Built<'py> {
        let PublicKey::PublicKeyTypeEd25519(key) = issuer;
        self.assets.get((code, key), || {
            self.row(Row::Asset, [self.int(kind)?, string(self.py, &code_text(code))?, self.account(issuer)?])
        })
    }

    pub fn asset(&self, asset: &Asset<'a>) -> Built<'py> {
        match asset {
            Asset::Native => self.native(),
            Asset::CreditAlphanum4(a) => self.credit(ALPHANUM4, a.asset_code, &a.issuer),
            Asset::CreditAlphanum12(a) => self.credit(ALPHANUM12, a.asset_code, &a.issuer),
        }
    }

    pub fn trustline_asset(&self, asset: &TrustLineAsset<'a>) -> Built<'py> {
        match asset {
            TrustLineAsset::Native => self.native(),
            TrustLineAsset::CreditAlphanum4(a) => self.credit(ALPHANUM4, a.asset_code, &a.issuer),
            TrustLineAsset::CreditAlphanum12(a) => self.credit(ALPHANUM12, a.asset_code, &a.issuer),
            TrustLineAsset::PoolShare(id) => {
                self.row(Row::Asset, [self.int(POOL_SHARE)?, string(self.py, &hex(*id))?, self.none.clone()])
            }
        }
    }

    pub fn change_trust_asset(&self, asset: &ChangeTrustAsset<'a>) -> Built<'py> {
        match asset {
            ChangeTrustAsset::Native => self.native(),
            ChangeTrustAsset::CreditAlphanum4(a) => self.credit(ALPHANUM4, a.asset_code, &a.issuer),
            ChangeTrustAsset::CreditAlphanum12(a) => self.credit(ALPHANUM12, a.asset_code, &a.issuer),
            ChangeTrustAsset::PoolShare(LiquidityPoolParameters::LiquidityPoolConstantProduct(p)) => {
                self.pool_parameters(p)
            }
        }
    }

    pub fn pool_parameters(&self, p: &LiquidityPoolConstantProductParameters<'a>) -> Built<'py> {
        let (a, b) = (self.asset(&p.asset_a)?, self.asset(&p.asset_b)?);
        self.row(Row::LiquidityPoolParameters, [self.int(POOL_SHARE)?, a, b, self.int(p.fee)?])
    }

    /// (code, type) of the asset an allow_trust names without its issuer.
    pub fn asset_code(&self, code: &AssetCode<'a>) -> Result<[crate::python::Object<'py>; 2], crate::python::Raised> {
        let (kind, padded): (i32, &[u8]) = match code {
            AssetCode::CreditAlphanum4(code) => (ALPHANUM4, *code),
            AssetCode::CreditAlphanum12(code) => (ALPHANUM12, *code),
        };
        Ok([string(self.py, &code_text(padded))?, self.int(kind)?])
    }

    pub fn price(&self, price: &Price) -> Built<'py> {
        self.row(Row::Price, [self.int(price.n)?, self.int(price.d)?])
    }

    /// A pair as a plain tuple.
    pub fn pair(&self, first: crate::python::Object<'py>, second: crate::python::Object<'py>) -> Built<'py> {
        pack(self.py, [first, second])
    }
}
