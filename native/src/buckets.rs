//! Bucket files of a history archive: which ledger entries exist, read from the newest bucket to the oldest.
//!
//! Of each key the first occurrence counts; a dead one hides what is older. So the keys seen so far are kept, as 16 bytes of their
//! SHA-256, but only where that can matter: an entry marked as created has nothing older (CAP-20), and behind the oldest bucket
//! nothing follows. Entries that no table is made of are passed over. `lumenstream/xdr/_buckets.py` is the same without a compiler.

use crate::cursor::Spanned;
use crate::ledger::whole;
use crate::python::Object;
use crate::rows::{Builder, Classes};
use crate::xdr::{
    BucketEntry, BucketMetadata, BucketMetadataExt, ClaimableBalanceID, HotArchiveBucketEntry, LedgerEntry,
    LedgerEntryData, LedgerKey, PublicKey, SCVal,
};
use pyo3::prelude::*;
use pyo3::types::PyList;
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

const MARK_BYTES: usize = 4;
const LAST_FRAGMENT: u32 = 1 << 31;
const MAX_RECORD_BYTES: usize = 16 << 20;
const FIRST_PROTOCOL_WITH_METADATA: u32 = 11;
const FIRST_PROTOCOL_WITH_ARCHIVE: u32 = 23;
const LIVE_LIST: i32 = 0;
const ARCHIVE_LIST: i32 = 1;
const BALANCE: &[u8] = b"Balance";

/// The keys are pieces of SHA-256 already.
#[derive(Default)]
struct Prefix(u64);

impl Hasher for Prefix {
    fn write(&mut self, data: &[u8]) {
        for byte in data {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, value: u128) {
        self.0 = value as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

type Found<'a> = Vec<Spanned<'a, LedgerEntry<'a>>>;

/// What a record says of its key.
#[derive(Clone, Copy, PartialEq)]
enum Said {
    Created,
    Exists,
    Gone,
}

#[pyclass(module = "lumenstream._native")]
pub struct BucketScanner {
    archived: bool,
    seen: HashSet<u128, BuildHasherDefault<Prefix>>,
    oldest: bool,
    in_bucket: u64,
    protocol: u32,
    rest: Vec<u8>,
    /// Records read, of all buckets.
    #[pyo3(get)]
    records: u64,
}

#[pymethods]
impl BucketScanner {
    /// `archived`: the buckets are of the hot archive list, which holds entries that were evicted.
    #[new]
    #[pyo3(signature = (*, archived = false))]
    fn new(archived: bool) -> Self {
        BucketScanner {
            archived,
            seen: HashSet::default(),
            oldest: false,
            in_bucket: 0,
            protocol: 0,
            rest: Vec::new(),
            records: 0,
        }
    }

    /// Keys remembered.
    #[getter]
    fn known(&self) -> usize {
        self.seen.len()
    }

    /// The next bucket, older than those before. `oldest`: none follows.
    fn begin(&mut self, oldest: bool) {
        (self.oldest, self.in_bucket, self.protocol) = (oldest, 0, 0);
        self.rest.clear();
    }

    /// The next bytes of the bucket: the entries in them that exist and were not seen before. Raises LedgerDecodeError.
    fn feed<'py>(&mut self, py: Python<'py>, data: &[u8]) -> PyResult<Bound<'py, PyList>> {
        let mut buffer = std::mem::take(&mut self.rest);
        buffer.extend_from_slice(data);
        let (used, found) = py.detach(|| self.scan(&buffer)).map_err(|message| crate::decode_error(py, message))?;
        let list = self.rows(py, &found)?;
        drop(found);
        self.rest = buffer.split_off(used);
        Ok(list)
    }

    /// The bucket ends here. Raises LedgerDecodeError when it ends inside a record.
    fn end(&mut self, py: Python<'_>) -> PyResult<()> {
        match self.rest.len() {
            0 => Ok(()),
            left => {
                Err(crate::decode_error(py, format!("ends inside record {}, {left} bytes into it", self.in_bucket + 1)))
            }
        }
    }
}

impl BucketScanner {
    fn rows<'py>(&self, py: Python<'py>, found: &Found<'_>) -> PyResult<Bound<'py, PyList>> {
        let raised = |error| crate::raised(py, error);
        let builder = Builder::new(py, Classes::get(py)?, &[0; 32]).map_err(raised)?;
        let rows: Vec<Object<'py>> =
            found.iter().map(|entry| builder.fresh_entry(entry)).collect::<Result<_, _>>().map_err(raised)?;
        PyList::new(py, rows)
    }

    /// Every whole record. Gives how many bytes they are.
    fn scan<'a>(&mut self, buffer: &'a [u8]) -> Result<(usize, Found<'a>), String> {
        let (mut at, mut found) = (0, Vec::new());
        while let Some(mark) = buffer[at..].first_chunk::<MARK_BYTES>() {
            let mark = u32::from_be_bytes(*mark);
            let length = (mark & !LAST_FRAGMENT) as usize;
            if mark & LAST_FRAGMENT == 0 || length > MAX_RECORD_BYTES {
                return Err(format!("record {}: {mark:#010x} is no record mark", self.in_bucket + 1));
            }
            let Some(record) = buffer.get(at + MARK_BYTES..at + MARK_BYTES + length) else { break };
            at += MARK_BYTES + length;
            self.in_bucket += 1;
            self.records += 1;
            let taken = if self.archived { self.archive_record(record) } else { self.live_record(record) };
            found.extend(taken.map_err(|what| format!("record {}: {what}", self.in_bucket))?);
        }
        Ok((at, found))
    }

    fn live_record<'a>(&mut self, record: &'a [u8]) -> Result<Option<Spanned<'a, LedgerEntry<'a>>>, String> {
        match whole(record, BucketEntry::read)? {
            BucketEntry::Liveentry(entry) => Ok(self.take(entry, Said::Exists)),
            BucketEntry::Initentry(_) if self.protocol < FIRST_PROTOCOL_WITH_METADATA => {
                Err(String::from("a created entry in a bucket whose metadata does not allow it"))
            }
            BucketEntry::Initentry(entry) => Ok(self.take(entry, Said::Created)),
            BucketEntry::Deadentry(key) => {
                self.bury(&key, record);
                Ok(None)
            }
            BucketEntry::Metaentry(metadata) => self.metadata(&metadata).map(|()| None),
        }
    }

    fn archive_record<'a>(&mut self, record: &'a [u8]) -> Result<Option<Spanned<'a, LedgerEntry<'a>>>, String> {
        let entry = whole(record, HotArchiveBucketEntry::read)?;
        if self.protocol == 0 && !matches!(entry, HotArchiveBucketEntry::Metaentry(_)) {
            return Err(String::from("a bucket of the hot archive begins with its metadata"));
        }
        match entry {
            HotArchiveBucketEntry::Archived(entry) => Ok(self.take(entry, Said::Exists)),
            HotArchiveBucketEntry::Live(key) => {
                self.bury(&key, record);
                Ok(None)
            }
            HotArchiveBucketEntry::Metaentry(metadata) => self.metadata(&metadata).map(|()| None),
        }
    }

    fn metadata(&mut self, metadata: &BucketMetadata) -> Result<(), String> {
        let list = match metadata.ext {
            BucketMetadataExt::V0 => LIVE_LIST,
            BucketMetadataExt::V1(list) => list,
        };
        let (wanted, first) = match self.archived {
            false => (LIVE_LIST, FIRST_PROTOCOL_WITH_METADATA),
            true => (ARCHIVE_LIST, FIRST_PROTOCOL_WITH_ARCHIVE),
        };
        if self.in_bucket != 1 {
            return Err(String::from("metadata stand first in a bucket"));
        }
        if list != wanted || metadata.ledger_version < first {
            return Err(format!("metadata of list {list}, protocol {}, do not belong here", metadata.ledger_version));
        }
        self.protocol = metadata.ledger_version;
        Ok(())
    }

    fn take<'a>(&mut self, entry: Spanned<'a, LedgerEntry<'a>>, said: Said) -> Option<Spanned<'a, LedgerEntry<'a>>> {
        let id = entry_id(&entry.data)?;
        self.is_news(id, said).then_some(entry)
    }

    fn bury(&mut self, key: &LedgerKey<'_>, record: &[u8]) {
        if wanted_key(key) {
            self.is_news(id(&[&record[MARK_BYTES..]]), Said::Gone);
        }
    }

    fn is_news(&mut self, id: u128, said: Said) -> bool {
        if self.oldest || said == Said::Created { !self.seen.contains(&id) } else { self.seen.insert(id) }
    }
}

/// The first 16 bytes of the SHA-256 of a ledger key.
fn id(pieces: &[&[u8]]) -> u128 {
    let mut hash = Sha256::new();
    pieces.iter().for_each(|piece| hash.update(piece));
    let digest: [u8; 32] = hash.finalize().into();
    u128::from_le_bytes(*digest.first_chunk().unwrap_or(&[0; 16]))
}

/// The id of an entry's key; None for entries that no table is made of.
fn entry_id(data: &LedgerEntryData<'_>) -> Option<u128> {
    let kind = data.discriminant().to_be_bytes();
    let no_union = [0; 4]; // keys and balance ids are unions of one kind, number 0
    let account = |account: &PublicKey<'_>| -> [u8; 32] {
        let PublicKey::PublicKeyTypeEd25519(key) = account;
        **key
    };
    match data {
        LedgerEntryData::Account(entry) => Some(id(&[&kind, &no_union, &account(&entry.account_id)])),
        LedgerEntryData::Trustline(entry) => {
            Some(id(&[&kind, &no_union, &account(&entry.account_id), entry.asset.xdr]))
        }
        LedgerEntryData::Offer(entry) => {
            Some(id(&[&kind, &no_union, &account(&entry.seller_id), &entry.offer_id.to_be_bytes()]))
        }
        LedgerEntryData::ClaimableBalance(entry) => {
            let ClaimableBalanceID::ClaimableBalanceIdTypeV0(hash) = entry.balance_id;
            Some(id(&[&kind, &no_union, hash]))
        }
        LedgerEntryData::LiquidityPool(entry) => Some(id(&[&kind, entry.liquidity_pool_id])),
        LedgerEntryData::ContractData(entry) if wanted_data(&entry.key) => {
            Some(id(&[&kind, entry.contract.xdr, entry.key.xdr, &entry.durability.to_be_bytes()]))
        }
        LedgerEntryData::ContractCode(entry) => Some(id(&[&kind, entry.hash])),
        _ => None,
    }
}

fn wanted_key(key: &LedgerKey<'_>) -> bool {
    match key {
        LedgerKey::ContractData(key) => wanted_data(&key.key),
        LedgerKey::Data(_) | LedgerKey::ConfigSetting(_) | LedgerKey::Ttl(_) => false,
        _ => true,
    }
}

/// A contract's instance, or what may be somebody's balance: [Balance, holder].
fn wanted_data(key: &SCVal<'_>) -> bool {
    match key {
        SCVal::LedgerKeyContractInstance => true,
        SCVal::Vec(Some(items)) => matches!(items.as_slice(), [SCVal::Symbol(BALANCE), _]),
        _ => false,
    }
}
