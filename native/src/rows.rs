//! The row types of `lumenstream/xdr/rows.py`, and the per-ledger context that builds rows.
//!
//! Rows are instances of those very named tuples, allocated directly and filled item by item, so that `isinstance` and
//! class patterns work on them and the two decoders cannot differ in names.

use crate::python::{Built, Object, Raised, bytes, fill, int, owned};
use crate::reading::at::LAYOUTS;
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
    TransactionDetails,
    TransactionEvent,
    TrustLineEntry,
    TtlEntry,
    Upgrade,
);

/// One named tuple class.
pub struct RowType {
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
        for (name, fields) in LAYOUTS {
            let found: Vec<String> = class(&rows, name)?.bind(py).getattr("_fields")?.extract()?;
            let expected = fields.iter().map(|field| field.trim_start_matches("r#"));
            if found.len() < fields.len() || !expected.eq(found[..fields.len()].iter().map(String::as_str)) {
                return Err(PySystemError::new_err(format!("the fields of {name} are {found:?}")));
            }
        }
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
        let fields = bound.getattr(pyo3::intern!(py, "_fields"))?.cast::<PyTuple>()?.len();
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

    /// The type behind a class that Python hands over.
    pub fn of(class: &Object<'_>) -> PyResult<RowType> {
        RowType::new(class.py(), class.clone().cast_into::<PyType>()?.unbind())
    }

    /// A named tuple of these items, which must be as many as the class has fields.
    #[inline]
    pub fn row<'py, const N: usize>(&self, py: Python<'py>, items: [Object<'py>; N]) -> Built<'py> {
        if self.fields != N {
            let what = format!("{} has {} fields, not {N}", self.class.bind(py), self.fields);
            PySystemError::new_err(what).restore(py);
            return Err(Raised);
        }
        // SAFETY: the class is a tuple subclass without further fields, so its allocator gives an empty tuple of N items
        // that nobody else has seen.
        unsafe {
            let tuple = owned(py, (self.allocate)(self.class.as_ptr().cast(), N as isize))?;
            for (index, item) in items.into_iter().enumerate() {
                fill(&tuple, index, item)?;
            }
            Ok(tuple)
        }
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
    integers: Integers<'py>,
    /// The memo of most transactions: none.
    pub no_memo: RefCell<Option<Object<'py>>>,
}

const INTEGER_SLOTS_BITS: u32 = 10;

/// Integers met lately: a third of all are those of an entry that differs in another field.
struct Integers<'py>(RefCell<Vec<Option<(i64, Object<'py>)>>>);

impl<'py> Integers<'py> {
    fn new() -> Self {
        Integers(RefCell::new(vec![None; 1 << INTEGER_SLOTS_BITS]))
    }

    #[inline]
    fn get(&self, py: Python<'py>, value: i64) -> Built<'py> {
        let slot = (value as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (u64::BITS - INTEGER_SLOTS_BITS);
        let mut slots = self.0.borrow_mut();
        match &mut slots[slot as usize] {
            Some((known, object)) if *known == value => Ok(object.clone()),
            other => {
                let made = int(py, value)?;
                *other = Some((value, made.clone()));
                Ok(made)
            }
        }
    }
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
            integers: Integers::new(),
            no_memo: RefCell::new(None),
        })
    }

    /// A named tuple of these items, which must be as many as the class has fields.
    #[inline]
    pub fn row<const N: usize>(&self, row: Row, items: [Object<'py>; N]) -> Built<'py> {
        self.classes.rows[row as usize].row(self.py, items)
    }

    #[inline]
    pub fn int(&self, value: impl Into<i64>) -> Built<'py> {
        self.integers.get(self.py, value.into())
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
