//! Operation bodies.

use crate::python::{Built, bytes, text, tuple};
use crate::rows::{Builder, Row};
use crate::xdr::{LedgerKey, OperationBody, RevokeSponsorshipOp, SetOptionsOp};

impl<'py, 'a> Builder<'py, 'a> {
    pub fn operation_body(&self, body: &OperationBody<'a>) -> Built<'py> {
        let py = self.py;
        match body {
            OperationBody::CreateAccount(op) => {
                self.row(Row::CreateAccount, [self.account(&op.destination)?, self.int(op.starting_balance)?])
            }
            OperationBody::Payment(op) => {
                self.row(Row::Payment, [self.muxed(&op.destination)?, self.asset(&op.asset)?, self.int(op.amount)?])
            }
            OperationBody::PathPaymentStrictReceive(op) => self.row(
                Row::PathPaymentStrictReceive,
                [
                    self.asset(&op.send_asset)?,
                    self.int(op.send_max)?,
                    self.muxed(&op.destination)?,
                    self.asset(&op.dest_asset)?,
                    self.int(op.dest_amount)?,
                    tuple(py, &op.path, |asset| self.asset(asset))?,
                ],
            ),
            OperationBody::PathPaymentStrictSend(op) => self.row(
                Row::PathPaymentStrictSend,
                [
                    self.asset(&op.send_asset)?,
                    self.int(op.send_amount)?,
                    self.muxed(&op.destination)?,
                    self.asset(&op.dest_asset)?,
                    self.int(op.dest_min)?,
                    tuple(py, &op.path, |asset| self.asset(asset))?,
                ],
            ),
            OperationBody::ManageSellOffer(op) => self.row(
                Row::ManageSellOffer,
                [
                    self.asset(&op.selling)?,
                    self.asset(&op.buying)?,
                    self.int(op.amount)?,
                    self.price(&op.price)?,
                    self.int(op.offer_id)?,
                ],
            ),
            OperationBody::ManageBuyOffer(op) => self.row(
                Row::ManageBuyOffer,
                [
                    self.asset(&op.selling)?,
                    self.asset(&op.buying)?,
                    self.int(op.buy_amount)?,
                    self.price(&op.price)?,
                    self.int(op.offer_id)?,
                ],
            ),
            OperationBody::CreatePassiveSellOffer(op) => {
                let (selling, buying) = (self.asset(&op.selling)?, self.asset(&op.buying)?);
                self.row(Row::CreatePassiveSellOffer, [selling, buying, self.int(op.amount)?, self.price(&op.price)?])
            }
            OperationBody::SetOptions(op) => self.set_options(op),
            OperationBody::ChangeTrust(op) => {
                self.row(Row::ChangeTrust, [self.change_trust_asset(&op.line)?, self.int(op.limit)?])
            }
            OperationBody::AllowTrust(op) => {
                let trustor = self.account(&op.trustor)?;
                let [code, kind] = self.asset_code(&op.asset)?;
                self.row(Row::AllowTrust, [trustor, code, kind, self.int(op.authorize)?])
            }
            OperationBody::AccountMerge(destination) => self.row(Row::AccountMerge, [self.muxed(destination)?]),
            OperationBody::Inflation => self.row(Row::Inflation, []),
            OperationBody::ManageData(op) => {
                let value = self.optional(op.data_value, |value| bytes(py, value))?;
                self.row(Row::ManageData, [text(py, op.data_name)?, value])
            }
            OperationBody::BumpSequence(op) => self.row(Row::BumpSequence, [self.int(op.bump_to)?]),
            OperationBody::CreateClaimableBalance(op) => {
                let claimants = self.claimants(&op.claimants)?;
                self.row(Row::CreateClaimableBalance, [self.asset(&op.asset)?, self.int(op.amount)?, claimants])
            }
            OperationBody::ClaimClaimableBalance(op) => {
                self.row(Row::ClaimClaimableBalance, [self.balance_id(&op.balance_id)?])
            }
            OperationBody::BeginSponsoringFutureReserves(op) => {
                self.row(Row::BeginSponsoringFutureReserves, [self.account(&op.sponsored_id)?])
            }
            OperationBody::EndSponsoringFutureReserves => self.row(Row::EndSponsoringFutureReserves, []),
            OperationBody::RevokeSponsorship(op) => self.revoke_sponsorship(op),
            OperationBody::Clawback(op) => {
                self.row(Row::Clawback, [self.asset(&op.asset)?, self.muxed(&op.from)?, self.int(op.amount)?])
            }
            OperationBody::ClawbackClaimableBalance(op) => {
                self.row(Row::ClawbackClaimableBalance, [self.balance_id(&op.balance_id)?])
            }
            OperationBody::SetTrustLineFlags(op) => {
                let (trustor, asset) = (self.account(&op.trustor)?, self.asset(&op.asset)?);
                self.row(Row::SetTrustLineFlags, [trustor, asset, self.int(op.clear_flags)?, self.int(op.set_flags)?])
            }
            OperationBody::LiquidityPoolDeposit(op) => self.row(
                Row::LiquidityPoolDeposit,
                [
                    self.hash(op.liquidity_pool_id)?,
                    self.int(op.max_amount_a)?,
                    self.int(op.max_amount_b)?,
                    self.price(&op.min_price)?,
                    self.price(&op.max_price)?,
                ],
            ),
            OperationBody::LiquidityPoolWithdraw(op) => self.row(
                Row::LiquidityPoolWithdraw,
                [
                    self.hash(op.liquidity_pool_id)?,
                    self.int(op.amount)?,
                    self.int(op.min_amount_a)?,
                    self.int(op.min_amount_b)?,
                ],
            ),
            OperationBody::InvokeHostFunction(op) => self.invoke_host_function(op),
            OperationBody::ExtendFootprintTtl(op) => self.row(Row::ExtendFootprintTtl, [self.int(op.extend_to)?]),
            OperationBody::RestoreFootprint(_) => self.row(Row::RestoreFootprint, []),
        }
    }

    fn set_options(&self, op: &SetOptionsOp<'a>) -> Built<'py> {
        let number = |value: Option<u32>| self.optional(value, |value| self.int(value));
        let items = [
            self.optional(op.inflation_dest.as_ref(), |account| self.account(account))?,
            number(op.clear_flags)?,
            number(op.set_flags)?,
            number(op.master_weight)?,
            number(op.low_threshold)?,
            number(op.med_threshold)?,
            number(op.high_threshold)?,
            self.optional(op.home_domain, |domain| text(self.py, domain))?,
            self.optional(op.signer.as_ref(), |signer| self.signer(signer, None))?,
        ];
        self.row(Row::SetOptions, items)
    }

    fn revoke_sponsorship(&self, op: &RevokeSponsorshipOp<'a>) -> Built<'py> {
        let key = |key: &LedgerKey<'a>| self.ledger_key(key);
        let items = match op {
            RevokeSponsorshipOp::LedgerEntry(entry) => [key(entry)?, self.none.clone(), self.none.clone()],
            RevokeSponsorshipOp::Signer(signer) => {
                [self.none.clone(), self.account(&signer.account_id)?, self.signer_key(&signer.signer_key)?]
            }
        };
        self.row(Row::RevokeSponsorship, items)
    }
}
