//! Host functions and their authorization.

use crate::cursor::Spanned;
use crate::python::{Built, Object, bytes, tuple};
use crate::rows::{Builder, Row};
use crate::xdr::{
    ContractExecutable, ContractIDPreimage, HostFunction, InvokeContractArgs, InvokeHostFunctionOp, SCVal,
    SorobanAuthorizationEntry, SorobanAuthorizedFunction, SorobanAuthorizedInvocation, SorobanCredentials,
};
use sha2::{Digest, Sha256};

const ENVELOPE_TYPE_CONTRACT_ID: u32 = 8;

impl<'py, 'a> Builder<'py, 'a> {
    pub fn invoke_host_function(&self, op: &InvokeHostFunctionOp<'a>) -> Built<'py> {
        let function = match &op.host_function {
            HostFunction::InvokeContract(call) => self.invoke_contract(call)?,
            HostFunction::CreateContract(create) => {
                self.create_contract(&create.contract_idpreimage, &create.executable, &[])?
            }
            HostFunction::UploadContractWasm(wasm) => bytes(self.py, wasm)?,
            HostFunction::CreateContractV2(create) => {
                self.create_contract(&create.contract_idpreimage, &create.executable, &create.constructor_args)?
            }
        };
        let auth = tuple(self.py, &op.auth, |entry| self.auth_entry(entry))?;
        self.row(Row::InvokeHostFunction, [self.int(op.host_function.discriminant())?, function, auth])
    }

    fn invoke_contract(&self, call: &InvokeContractArgs<'a>) -> Built<'py> {
        let contract = self.sc_address(&call.contract_address)?;
        self.row(Row::InvokeContract, [contract, self.symbol(call.function_name)?, self.scvals(&call.args)?])
    }

    fn create_contract(
        &self,
        preimage: &Spanned<'a, ContractIDPreimage<'a>>,
        executable: &ContractExecutable<'a>,
        constructor_args: &[SCVal<'a>],
    ) -> Built<'py> {
        let [wasm_hash, external_ref] = self.executable(executable)?;
        let arguments = self.scvals(constructor_args)?;
        self.row(Row::CreateContract, [self.preimage(preimage)?, wasm_hash, arguments, external_ref])
    }

    fn preimage(&self, preimage: &Spanned<'a, ContractIDPreimage<'a>>) -> Built<'py> {
        let (address, salt, asset): (Object<'py>, Object<'py>, Object<'py>) = match &preimage.value {
            ContractIDPreimage::Address(from) => {
                (self.sc_address(&from.address)?, self.hash(from.salt)?, self.none.clone())
            }
            ContractIDPreimage::Asset(asset) => (self.none.clone(), self.none.clone(), self.asset(asset)?),
        };
        let contract_id: [u8; 32] = Sha256::new()
            .chain_update(ENVELOPE_TYPE_CONTRACT_ID.to_be_bytes())
            .chain_update(self.network_id)
            .chain_update(preimage.xdr)
            .finalize()
            .into();
        let kind = self.int(preimage.discriminant())?;
        self.row(Row::ContractIdPreimage, [kind, address, salt, asset, self.computed_contract(&contract_id)?])
    }

    fn auth_entry(&self, entry: &SorobanAuthorizationEntry<'a>) -> Built<'py> {
        let address = match &entry.credentials {
            SorobanCredentials::SourceAccount => None,
            SorobanCredentials::Address(credentials) | SorobanCredentials::AddressV2(credentials) => {
                Some(&credentials.address)
            }
            SorobanCredentials::AddressWithDelegates(credentials) => Some(&credentials.address_credentials.address),
        };
        let address = self.optional(address, |address| self.sc_address(address))?;
        let invocation = self.auth_invocation(&entry.root_invocation)?;
        self.row(Row::AuthEntry, [self.int(entry.credentials.discriminant())?, address, invocation])
    }

    fn auth_invocation(&self, invocation: &SorobanAuthorizedInvocation<'a>) -> Built<'py> {
        let function = match &invocation.function {
            SorobanAuthorizedFunction::ContractFn(call) => self.invoke_contract(call)?,
            SorobanAuthorizedFunction::CreateContractHostFn(create) => {
                self.create_contract(&create.contract_idpreimage, &create.executable, &[])?
            }
            SorobanAuthorizedFunction::CreateContractV2HostFn(create) => {
                self.create_contract(&create.contract_idpreimage, &create.executable, &create.constructor_args)?
            }
        };
        let inner = tuple(self.py, &invocation.sub_invocations, |inner| self.auth_invocation(inner))?;
        self.row(Row::AuthInvocation, [self.int(invocation.function.discriminant())?, function, inner])
    }
}
