//! The row types of `lumenstream/xdr/rows.py`, and the per-ledger context that builds rows.
//!
//! Rows are instances of those very named tuples, allocated directly and filled item by item, so that `isinstance` and
//! class patterns work on them and the two decoders cannot differ in names.

use crate::python::{Built, Object, Raised, bytes, fill, owned};
use pyo3::exceptions::PySystemError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyTuple, PyType};
use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};

macro_rules! row_types {
    ($($name:ident),* $(,)?) => {
        #[derive(Clone, Copy)]
        pub enum Row { $($name),* }
        const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}

row_types!(
    AccountEntry,
    AccountMerge,
    AllowTrust,
    Asset,
    AuthEntry,
    AuthInvocation,
    BeginSponsoringFutureReserves,
    BumpSequence,
    Change,
    ChangeTrust,
    ClaimAtom,
    ClaimClaimableBalance,
    ClaimableBalanceEntry,
    Claimant,
    Clawback,
    ClawbackClaimableBalance,
    ConfigSettingEntry,
    ContractCodeEntry,
    ContractDataEntry,
    ContractEvent,
    ContractIdPreimage,
    ContractInstance,
    CreateAccount,
    CreateClaimableBalance,
    CreateContract,
    CreatePassiveSellOffer,
    DataEntry,
    EndSponsoringFutureReserves,
    Entry,
    ExtendFootprintTtl,
    Inflation,
    InflationPayout,
    InvokeContract,
    InvokeHostFunction,
    Ledger,
    LedgerHeader,
    LedgerKey,
    LiquidityPoolDeposit,
    LiquidityPoolEntry,
    LiquidityPoolParameters,
    LiquidityPoolWithdraw,
    ManageBuyOffer,
    ManageData,
    ManageSellOffer,
    Memo,
    OfferEntry,
    OfferResult,
    Operation,
    OperationResult,
    PathPaymentResult,
    PathPaymentStrictReceive,
    PathPaymentStrictSend,
    Payment,
    Price,
    RestoreFootprint,
    RevokeSponsorship,
    ScVal,
    SetOptions,
    SetTrustLineFlags,
    Signer,
    Transaction,
    TransactionEvent,
    TrustLineEntry,
    TtlEntry,
    Upgrade,
);

/// One named tuple class.
struct RowType {
    class: Py<PyType>,
    fields: usize,
    allocate: ffi::allocfunc,
}

/// The Python classes this module uses, imported once.
pub struct Classes {
    rows: Vec<RowType>,
    decode_error: Py<PyType>,
    content_error: Py<PyType>,
}

static CLASSES: PyOnceLock<Classes> = PyOnceLock::new();

impl Classes {
    pub fn get(py: Python<'_>) -> PyResult<&'static Classes> {
        CLASSES.get_or_try_init(py, || Classes::import(py))
    }

    fn import(py: Python<'_>) -> PyResult<Classes> {
        let rows = py.import("lumenstream.xdr.rows")?;
        let errors = py.import("lumenstream.xdr.errors")?;
        let class = |module: &Bound<'_, PyModule>, name: &str| -> PyResult<Py<PyType>> {
            Ok(module.getattr(name)?.cast_into::<PyType>()?.unbind())
        };
        let row_types = NAMES.iter().map(|name| RowType::new(py, class(&rows, name)?)).collect::<PyResult<_>>()?;
        Ok(Classes {
            rows: row_types,
            decode_error: class(&errors, "LedgerDecodeError")?,
            content_error: class(&errors, "LedgerContentError")?,
        })
    }

    pub fn decode_error(&self, py: Python<'_>, message: String) -> PyErr {
        PyErr::from_type(self.decode_error.bind(py).clone(), message)
    }
}

impl RowType {
    fn new(py: Python<'_>, class: Py<PyType>) -> PyResult<RowType> {
        let bound = class.bind(py);
        let fields = bound.getattr("_fields")?.cast::<PyTuple>()?.len();
        if !bound.is_subclass_of::<PyTuple>()? {
            return Err(PySystemError::new_err(format!("{bound} is not a tuple")));
        }
        // SAFETY: the slot of a ready type is null or a function of this type.
        let slot = unsafe { ffi::PyType_GetSlot(bound.as_type_ptr(), ffi::Py_tp_alloc) };
        if slot.is_null() {
            return Err(PySystemError::new_err(format!("{bound} cannot be allocated")));
        }
        // SAFETY: Py_tp_alloc is an `allocfunc`, and it is not null.
        let allocate = unsafe { std::mem::transmute::<*mut std::ffi::c_void, ffi::allocfunc>(slot) };
        Ok(RowType { class, fields, allocate })
    }
}

/// Hash for keys that are mostly 32 random bytes: one multiplication per word.
#[derive(Default)]
pub struct WordHasher(u64);

impl Hasher for WordHasher {
    fn write(&mut self, data: &[u8]) {
        let (words, rest) = data.as_chunks::<8>();
        for word in words {
            self.write_u64(u64::from_le_bytes(*word));
        }
        for byte in rest {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn write_usize(&mut self, length: usize) {
        self.write_u64(length as u64);
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}

/// Python objects already built for a key of this ledger.
pub struct Cache<'py, K>(RefCell<HashMap<K, Object<'py>, BuildHasherDefault<WordHasher>>>);

impl<'py, K: Eq + Hash> Cache<'py, K> {
    fn with_capacity(capacity: usize) -> Self {
        Cache(RefCell::new(HashMap::with_capacity_and_hasher(capacity, BuildHasherDefault::default())))
    }

    /// The object for `key`, made by `make` the first time. `make` must not use this cache.
    #[inline]
    pub fn get(&self, key: K, make: impl FnOnce() -> Built<'py>) -> Built<'py> {
        if let Some(found) = self.0.borrow().get(&key) {
            return Ok(found.clone());
        }
        let made = make()?;
        self.0.borrow_mut().insert(key, made.clone());
        Ok(made)
    }
}

/// Everything needed while the rows of one ledger are built.
pub struct Builder<'py, 'a> {
    pub py: Python<'py>,
    classes: &'static Classes,
    pub network_id: &'a [u8; 32],
    pub none: Object<'py>,
    pub nothing: Object<'py>,
    /// Addresses of 32 bytes by version byte and key.
    pub addresses: Cache<'py, (u8, &'a [u8; 32])>,
    /// Assets by padded code and issuer.
    pub assets: Cache<'py, (&'a [u8], &'a [u8; 32])>,
    /// Symbols, short strings and home domains.
    pub symbols: Cache<'py, &'a [u8]>,
    /// Symbol and string values.
    pub text_values: Cache<'py, (u8, &'a [u8])>,
    /// Address values of accounts and contracts.
    pub address_values: Cache<'py, (u8, &'a [u8; 32])>,
    /// Ledger entries by their XDR: the state before a change is mostly the state after an earlier one.
    pub entries: Cache<'py, &'a [u8]>,
}

impl<'py, 'a> Builder<'py, 'a> {
    pub fn new(py: Python<'py>, classes: &'static Classes, network_id: &'a [u8; 32]) -> Result<Self, Raised> {
        Ok(Builder {
            py,
            classes,
            network_id,
            none: crate::python::none(py),
            nothing: crate::python::pack(py, [])?,
            addresses: Cache::with_capacity(1024),
            assets: Cache::with_capacity(256),
            symbols: Cache::with_capacity(128),
            text_values: Cache::with_capacity(128),
            address_values: Cache::with_capacity(512),
            entries: Cache::with_capacity(2048),
        })
    }

    /// A named tuple of these items, which must be as many as the class has fields.
    #[inline]
    pub fn row<const N: usize>(&self, row: Row, items: [Object<'py>; N]) -> Built<'py> {
        let row_type = &self.classes.rows[row as usize];
        if row_type.fields != N {
            return Err(
                self.raise(PySystemError::new_err(format!("{} has {} fields", NAMES[row as usize], row_type.fields)))
            );
        }
        // SAFETY: the class is a tuple subclass without further fields, so its allocator gives an empty tuple of N items
        // that nobody else has seen.
        unsafe {
            let tuple = owned(self.py, (row_type.allocate)(row_type.class.as_ptr().cast(), N as isize))?;
            for (index, item) in items.into_iter().enumerate() {
                fill(&tuple, index, item)?;
            }
            Ok(tuple)
        }
    }

    /// `make` of the value, or None.
    #[inline]
    pub fn optional<T>(&self, value: Option<T>, make: impl FnOnce(T) -> Built<'py>) -> Built<'py> {
        value.map_or_else(|| Ok(self.none.clone()), make)
    }

    pub fn hash(&self, hash: &[u8; 32]) -> Built<'py> {
        bytes(self.py, hash)
    }

    pub fn raise(&self, error: PyErr) -> Raised {
        error.restore(self.py);
        Raised
    }

    /// Raise LedgerContentError.
    pub fn content_error(&self, message: String) -> Raised {
        self.raise(PyErr::from_type(self.classes.content_error.bind(self.py).clone(), message))
    }
}
