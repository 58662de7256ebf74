//! Soroban values, the instances they can hold, and contract events.

use crate::python::{Built, Object, Raised, boolean, bytes, shifted, text, tuple, unsigned};
use crate::rows::{Builder, Row};
use crate::xdr::{
    ContractEvent, ContractEventBody, ContractExecutable, PublicKey, SCAddress, SCContractInstance, SCError,
    SCMapEntry, SCVal, TransactionEvent,
};

/// Strings up to this length are looked up among those already seen: asset names and the like repeat.
const CACHED_STRING_BYTES: usize = 64;

/// What keeps the cached kinds of value apart.
const STRING: u8 = 14;
const SYMBOL: u8 = 15;
const ACCOUNT: u8 = 0;
const CONTRACT: u8 = 1;

impl<'py, 'a> Builder<'py, 'a> {
    pub fn scval(&self, value: &SCVal<'a>) -> Built<'py> {
        let row = || {
            let content = self.scval_content(value)?;
            self.row(Row::ScVal, [self.int(value.discriminant())?, content])
        };
        // Names of events, assets and parties: the same few values again and again.
        match value {
            SCVal::Symbol(data) => self.text_values.get((SYMBOL, data), row),
            SCVal::String(data) if data.len() <= CACHED_STRING_BYTES => self.text_values.get((STRING, data), row),
            SCVal::Address(SCAddress::Account(PublicKey::PublicKeyTypeEd25519(key))) => {
                self.address_values.get((ACCOUNT, key), row)
            }
            SCVal::Address(SCAddress::Contract(id)) => self.address_values.get((CONTRACT, id), row),
            _ => row(),
        }
    }

    pub fn scvals(&self, values: &[SCVal<'a>]) -> Built<'py> {
        tuple(self.py, values, |value| self.scval(value))
    }

    fn scval_content(&self, value: &SCVal<'a>) -> Built<'py> {
        let py = self.py;
        match value {
            SCVal::Bool(value) => boolean(py, *value),
            SCVal::Void | SCVal::LedgerKeyContractInstance => Ok(self.none.clone()),
            SCVal::Error(error) => self.scerror(error),
            SCVal::U32(value) => self.int(*value),
            SCVal::I32(value) => self.int(*value),
            SCVal::I64(value) => self.int(*value),
            SCVal::U64(value) | SCVal::Timepoint(value) | SCVal::Duration(value) => unsigned(py, *value),
            SCVal::U128(parts) if parts.hi == 0 => unsigned(py, parts.lo),
            SCVal::U128(parts) => shifted(py, unsigned(py, parts.hi)?, parts.lo),
            // The high part is only the sign of the low one: the value fits 64 bits, as most amounts do.
            SCVal::I128(parts) if parts.hi == (parts.lo as i64) >> 63 => self.int(parts.lo as i64),
            SCVal::I128(parts) => shifted(py, self.int(parts.hi)?, parts.lo),
            SCVal::U256(parts) => self.wide(unsigned(py, parts.hi_hi)?, parts.hi_lo, parts.lo_hi, parts.lo_lo),
            SCVal::I256(parts) => self.wide(self.int(parts.hi_hi)?, parts.hi_lo, parts.lo_hi, parts.lo_lo),
            SCVal::Bytes(data) => bytes(py, data),
            SCVal::String(data) | SCVal::ExecutableTag(data) if data.len() <= CACHED_STRING_BYTES => self.symbol(data),
            SCVal::String(data) | SCVal::ExecutableTag(data) => text(py, data),
            SCVal::Symbol(data) => self.symbol(data),
            SCVal::Vec(values) => self.optional(values.as_ref(), |values| self.scvals(values)),
            SCVal::Map(entries) => self.optional(entries.as_ref(), |entries| self.scmap(entries)),
            SCVal::Address(address) => self.sc_address(address),
            SCVal::ContractInstance(instance) => self.contract_instance(instance),
            SCVal::LedgerKeyNonce(key) => self.int(key.nonce),
        }
    }

    fn wide(&self, high: Object<'py>, second: u64, third: u64, low: u64) -> Built<'py> {
        let upper = shifted(self.py, shifted(self.py, high, second)?, third)?;
        shifted(self.py, upper, low)
    }

    fn scerror(&self, error: &SCError) -> Built<'py> {
        let code = match error {
            SCError::Contract(code) => self.int(*code)?,
            SCError::WasmVm(code)
            | SCError::Context(code)
            | SCError::Storage(code)
            | SCError::Object(code)
            | SCError::Crypto(code)
            | SCError::Events(code)
            | SCError::Budget(code)
            | SCError::Value(code)
            | SCError::Auth(code) => self.int(*code)?,
        };
        self.pair(self.int(error.discriminant())?, code)
    }

    fn scmap(&self, entries: &[SCMapEntry<'a>]) -> Built<'py> {
        tuple(self.py, entries, |entry| self.pair(self.scval(&entry.key)?, self.scval(&entry.val)?))
    }

    fn contract_instance(&self, instance: &SCContractInstance<'a>) -> Built<'py> {
        let [wasm_hash, external_ref] = self.executable(&instance.executable)?;
        let storage = self.optional(instance.storage.as_ref(), |storage| self.scmap(storage))?;
        self.row(Row::ContractInstance, [wasm_hash, storage, external_ref])
    }

    /// (wasm hash, external reference): at most one of them is not None.
    pub fn executable(&self, executable: &ContractExecutable<'a>) -> Result<[Object<'py>; 2], Raised> {
        Ok(match executable {
            ContractExecutable::Wasm(hash) => [self.hash(hash)?, self.none.clone()],
            ContractExecutable::StellarAsset => [self.none.clone(), self.none.clone()],
            ContractExecutable::ExternalRef(reference) => {
                let owner = self.sc_address(&reference.executable_owner)?;
                [self.none.clone(), self.pair(owner, text(self.py, reference.tag)?)?]
            }
        })
    }

    pub fn contract_event(&self, event: &ContractEvent<'a>) -> Built<'py> {
        let ContractEventBody::V0(body) = &event.body;
        let contract = self.optional(event.contract_id, |id| self.contract(id))?;
        let topics = self.scvals(&body.topics)?;
        self.row(Row::ContractEvent, [self.int(event.type_)?, contract, topics, self.scval(&body.data)?])
    }

    pub fn contract_events(&self, events: &[ContractEvent<'a>]) -> Built<'py> {
        if events.is_empty() {
            return Ok(self.nothing.clone());
        }
        tuple(self.py, events, |event| self.contract_event(event))
    }

    pub fn transaction_event(&self, event: &TransactionEvent<'a>) -> Built<'py> {
        self.row(Row::TransactionEvent, [self.int(event.stage)?, self.contract_event(&event.event)?])
    }
}
