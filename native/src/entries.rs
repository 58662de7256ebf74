//! Ledger entries and ledger keys.

use crate::cursor::Spanned;
use crate::python::{Built, Object, Raised, bytes, pack, text, tuple, unsigned};
use crate::rows::{Builder, Row};
use crate::xdr::{
    AccountEntry, AccountEntryExt, AccountEntryExtensionV1Ext, AccountEntryExtensionV2Ext, ClaimPredicate,
    ClaimableBalanceEntry, ClaimableBalanceEntryExt, Claimant, LedgerEntry, LedgerEntryData, LedgerEntryExt, LedgerKey,
    LiquidityPoolEntry, LiquidityPoolEntryBody, OfferEntry, PublicKey, Signer, TrustLineEntry, TrustLineEntryExt,
    TrustLineEntryV1Ext,
};

impl<'py, 'a> Builder<'py, 'a> {
    pub fn entry(&self, entry: &Spanned<'a, LedgerEntry<'a>>) -> Built<'py> {
        self.entries.get(entry.xdr, || self.fresh_entry(entry))
    }

    /// The same for an entry that will not come again.
    pub fn fresh_entry(&self, entry: &LedgerEntry<'a>) -> Built<'py> {
        let sponsor = match &entry.ext {
            LedgerEntryExt::V0 => None,
            LedgerEntryExt::V1(extension) => extension.sponsoring_id.as_ref(),
        };
        let items = [
            self.int(entry.data.discriminant())?,
            self.int(entry.last_modified_ledger_seq)?,
            self.optional(sponsor, |account| self.account(account))?,
            self.entry_data(&entry.data)?,
        ];
        self.row(Row::Entry, items)
    }

    fn entry_data(&self, data: &LedgerEntryData<'a>) -> Built<'py> {
        let py = self.py;
        match data {
            LedgerEntryData::Account(account) => self.account_entry(account),
            LedgerEntryData::Trustline(line) => self.trustline_entry(line),
            LedgerEntryData::Offer(offer) => self.offer(offer),
            LedgerEntryData::Data(data) => self.row(
                Row::DataEntry,
                [self.account(&data.account_id)?, text(py, data.data_name)?, bytes(py, data.data_value)?],
            ),
            LedgerEntryData::ClaimableBalance(balance) => self.claimable_balance_entry(balance),
            LedgerEntryData::LiquidityPool(pool) => self.liquidity_pool_entry(pool),
            LedgerEntryData::ContractData(data) => {
                let contract = self.sc_address(&data.contract)?;
                let items = [contract, self.scval(&data.key)?, self.int(data.durability)?, self.scval(&data.val)?];
                self.row(Row::ContractDataEntry, items)
            }
            LedgerEntryData::ContractCode(code) => {
                self.row(Row::ContractCodeEntry, [self.hash(code.hash)?, bytes(py, code.code)?])
            }
            LedgerEntryData::ConfigSetting(setting) => {
                self.row(Row::ConfigSettingEntry, [self.int(setting.discriminant())?, bytes(py, setting.xdr)?])
            }
            LedgerEntryData::Ttl(ttl) => {
                self.row(Row::TtlEntry, [self.hash(ttl.key_hash)?, self.int(ttl.live_until_ledger_seq)?])
            }
        }
    }

    fn account_entry(&self, account: &AccountEntry<'a>) -> Built<'py> {
        let py = self.py;
        let mut extension = 0;
        let (mut buying, mut selling, mut sponsored, mut sponsoring) = (0, 0, 0, 0);
        let (mut seq_ledger, mut seq_time) = (0, 0);
        let mut sponsors: &[Option<PublicKey<'a>>] = &[];
        if let AccountEntryExt::V1(v1) = &account.ext {
            (extension, buying, selling) = (1, v1.liabilities.buying, v1.liabilities.selling);
            if let AccountEntryExtensionV1Ext::V2(v2) = &v1.ext {
                (extension, sponsored, sponsoring) = (2, v2.num_sponsored, v2.num_sponsoring);
                sponsors = &v2.signer_sponsoring_ids;
                if let AccountEntryExtensionV2Ext::V3(v3) = &v2.ext {
                    (extension, seq_ledger, seq_time) = (3, v3.seq_ledger, v3.seq_time);
                }
            }
        }
        let items = [
            self.account(&account.account_id)?,
            self.int(account.balance)?,
            self.int(account.seq_num)?,
            self.int(account.num_sub_entries)?,
            self.optional(account.inflation_dest.as_ref(), |destination| self.account(destination))?,
            self.int(account.flags)?,
            self.symbol(account.home_domain)?,
            bytes(py, account.thresholds)?,
            self.signers(&account.signers, sponsors)?,
            self.int(buying)?,
            self.int(selling)?,
            self.int(sponsored)?,
            self.int(sponsoring)?,
            self.int(seq_ledger)?,
            unsigned(py, seq_time)?,
            self.int(extension)?,
        ];
        self.row(Row::AccountEntry, items)
    }

    /// Signers, each with its sponsor: the two lists run in parallel.
    fn signers(&self, signers: &[Signer<'a>], sponsors: &[Option<PublicKey<'a>>]) -> Built<'py> {
        if signers.is_empty() {
            return Ok(self.nothing.clone());
        }
        let mut sponsors = sponsors.iter();
        tuple(self.py, signers, |signer| self.signer(signer, sponsors.next().and_then(Option::as_ref)))
    }

    pub fn signer(&self, signer: &Signer<'a>, sponsor: Option<&PublicKey<'a>>) -> Built<'py> {
        let sponsor = self.optional(sponsor, |account| self.account(account))?;
        self.row(Row::Signer, [self.signer_key(&signer.key)?, self.int(signer.weight)?, sponsor])
    }

    fn trustline_entry(&self, line: &TrustLineEntry<'a>) -> Built<'py> {
        let (mut extension, mut buying, mut selling, mut pool_uses) = (0, 0, 0, 0);
        if let TrustLineEntryExt::V1(v1) = &line.ext {
            (extension, buying, selling) = (1, v1.liabilities.buying, v1.liabilities.selling);
            if let TrustLineEntryV1Ext::V2(v2) = &v1.ext {
                (extension, pool_uses) = (2, v2.liquidity_pool_use_count);
            }
        }
        let items = [
            self.account(&line.account_id)?,
            self.trustline_asset(&line.asset)?,
            self.int(line.balance)?,
            self.int(line.limit)?,
            self.int(line.flags)?,
            self.int(buying)?,
            self.int(selling)?,
            self.int(pool_uses)?,
            self.int(extension)?,
        ];
        self.row(Row::TrustLineEntry, items)
    }

    pub fn offer(&self, offer: &OfferEntry<'a>) -> Built<'py> {
        let items = [
            self.account(&offer.seller_id)?,
            self.int(offer.offer_id)?,
            self.asset(&offer.selling)?,
            self.asset(&offer.buying)?,
            self.int(offer.amount)?,
            self.price(&offer.price)?,
            self.int(offer.flags)?,
        ];
        self.row(Row::OfferEntry, items)
    }

    fn claimable_balance_entry(&self, balance: &ClaimableBalanceEntry<'a>) -> Built<'py> {
        let flags = match &balance.ext {
            ClaimableBalanceEntryExt::V0 => 0,
            ClaimableBalanceEntryExt::V1(extension) => extension.flags,
        };
        let items = [
            self.balance_id(&balance.balance_id)?,
            self.claimants(&balance.claimants)?,
            self.asset(&balance.asset)?,
            self.int(balance.amount)?,
            self.int(flags)?,
        ];
        self.row(Row::ClaimableBalanceEntry, items)
    }

    pub fn claimants(&self, claimants: &[Claimant<'a>]) -> Built<'py> {
        tuple(self.py, claimants, |Claimant::ClaimantTypeV0(claimant)| {
            let predicate = self.predicate(&claimant.predicate)?;
            self.row(Row::Claimant, [self.account(&claimant.destination)?, predicate])
        })
    }

    fn predicate(&self, predicate: &ClaimPredicate) -> Built<'py> {
        let content = match predicate {
            ClaimPredicate::Unconditional => self.none.clone(),
            ClaimPredicate::And(parts) | ClaimPredicate::Or(parts) => {
                tuple(self.py, parts, |part| self.predicate(part))?
            }
            ClaimPredicate::Not(inner) => self.optional(inner.as_ref(), |inner| self.predicate(inner))?,
            ClaimPredicate::BeforeAbsoluteTime(seconds) | ClaimPredicate::BeforeRelativeTime(seconds) => {
                self.int(*seconds)?
            }
        };
        self.pair(self.int(predicate.discriminant())?, content)
    }

    fn liquidity_pool_entry(&self, pool: &LiquidityPoolEntry<'a>) -> Built<'py> {
        let LiquidityPoolEntryBody::LiquidityPoolConstantProduct(body) = &pool.body;
        let items = [
            self.hash(pool.liquidity_pool_id)?,
            self.pool_parameters(&body.params)?,
            self.int(body.reserve_a)?,
            self.int(body.reserve_b)?,
            self.int(body.total_pool_shares)?,
            self.int(body.pool_shares_trust_line_count)?,
        ];
        self.row(Row::LiquidityPoolEntry, items)
    }

    pub fn ledger_key(&self, key: &LedgerKey<'a>) -> Built<'py> {
        let fields = self.ledger_key_fields(key)?;
        self.row(Row::LedgerKey, [self.int(key.discriminant())?, fields])
    }

    fn ledger_key_fields(&self, key: &LedgerKey<'a>) -> Built<'py> {
        let py = self.py;
        let one = |object: Object<'py>| -> Result<Object<'py>, Raised> { pack(py, [object]) };
        match key {
            LedgerKey::Account(key) => one(self.account(&key.account_id)?),
            LedgerKey::Trustline(key) => self.pair(self.account(&key.account_id)?, self.trustline_asset(&key.asset)?),
            LedgerKey::Offer(key) => self.pair(self.account(&key.seller_id)?, self.int(key.offer_id)?),
            LedgerKey::Data(key) => self.pair(self.account(&key.account_id)?, text(py, key.data_name)?),
            LedgerKey::ClaimableBalance(key) => one(self.balance_id(&key.balance_id)?),
            LedgerKey::LiquidityPool(key) => one(self.hash(key.liquidity_pool_id)?),
            LedgerKey::ContractData(key) => {
                pack(py, [self.sc_address(&key.contract)?, self.scval(&key.key)?, self.int(key.durability)?])
            }
            LedgerKey::ContractCode(key) => one(self.hash(key.hash)?),
            LedgerKey::ConfigSetting(key) => one(self.int(key.config_setting_id)?),
            LedgerKey::Ttl(key) => one(self.hash(key.key_hash)?),
        }
    }
}
