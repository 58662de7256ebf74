//! Operation results.

use crate::python::{Built, Object, Raised, tuple};
use crate::rows::{Builder, Row};
use crate::xdr::{
    AccountMergeResult, Asset, ClaimAtom, CreateClaimableBalanceResult, InflationResult, InvokeHostFunctionResult,
    ManageBuyOfferResult, ManageOfferSuccessResult, ManageOfferSuccessResultOffer, ManageSellOfferResult,
    OperationResult, OperationResultTr, PathPaymentStrictReceiveResult, PathPaymentStrictSendResult,
    SimplePaymentResult,
};

impl<'py, 'a> Builder<'py, 'a> {
    pub fn operation_result(&self, result: &OperationResult<'a>) -> Built<'py> {
        let code = self.int(result.discriminant())?;
        let (kind, inner_code, value) = match result {
            OperationResult::Inner(inner) => {
                let (inner_code, value) = self.inner_result(inner)?;
                (self.int(inner.discriminant())?, self.int(inner_code)?, value)
            }
            _ => (self.none.clone(), self.none.clone(), self.none.clone()),
        };
        self.row(Row::OperationResult, [code, kind, inner_code, value])
    }

    /// The operation's own result code, and what success (or a missing issuer) carries.
    fn inner_result(&self, result: &OperationResultTr<'a>) -> Result<(i32, Object<'py>), Raised> {
        use OperationResultTr as Tr;
        let py = self.py;
        let mut value = self.none.clone();
        let code = match result {
            Tr::CreateAccount(result) => result.discriminant(),
            Tr::Payment(result) => result.discriminant(),
            Tr::PathPaymentStrictReceive(result) => {
                value = match result {
                    PathPaymentStrictReceiveResult::Success(success) => self.path(&success.offers, &success.last)?,
                    PathPaymentStrictReceiveResult::NoIssuer(asset) => self.asset(asset)?,
                    _ => value,
                };
                result.discriminant()
            }
            Tr::PathPaymentStrictSend(result) => {
                value = match result {
                    PathPaymentStrictSendResult::Success(success) => self.path(&success.offers, &success.last)?,
                    PathPaymentStrictSendResult::NoIssuer(asset) => self.asset(asset)?,
                    _ => value,
                };
                result.discriminant()
            }
            Tr::ManageSellOffer(result) | Tr::CreatePassiveSellOffer(result) => {
                if let ManageSellOfferResult::Success(success) = result {
                    value = self.offer_result(success)?;
                }
                result.discriminant()
            }
            Tr::ManageBuyOffer(result) => {
                if let ManageBuyOfferResult::Success(success) = result {
                    value = self.offer_result(success)?;
                }
                result.discriminant()
            }
            Tr::SetOptions(result) => result.discriminant(),
            Tr::ChangeTrust(result) => result.discriminant(),
            Tr::AllowTrust(result) => result.discriminant(),
            Tr::AccountMerge(result) => {
                if let AccountMergeResult::Success(balance) = result {
                    value = self.int(*balance)?;
                }
                result.discriminant()
            }
            Tr::Inflation(result) => {
                if let InflationResult::Success(payouts) = result {
                    value = tuple(py, payouts, |payout| {
                        let destination = self.account(&payout.destination)?;
                        self.row(Row::InflationPayout, [destination, self.int(payout.amount)?])
                    })?;
                }
                result.discriminant()
            }
            Tr::ManageData(result) => result.discriminant(),
            Tr::BumpSequence(result) => result.discriminant(),
            Tr::CreateClaimableBalance(result) => {
                if let CreateClaimableBalanceResult::Success(id) = result {
                    value = self.balance_id(id)?;
                }
                result.discriminant()
            }
            Tr::ClaimClaimableBalance(result) => result.discriminant(),
            Tr::BeginSponsoringFutureReserves(result) => result.discriminant(),
            Tr::EndSponsoringFutureReserves(result) => result.discriminant(),
            Tr::RevokeSponsorship(result) => result.discriminant(),
            Tr::Clawback(result) => result.discriminant(),
            Tr::ClawbackClaimableBalance(result) => result.discriminant(),
            Tr::SetTrustLineFlags(result) => result.discriminant(),
            Tr::LiquidityPoolDeposit(result) => result.discriminant(),
            Tr::LiquidityPoolWithdraw(result) => result.discriminant(),
            Tr::InvokeHostFunction(result) => {
                if let InvokeHostFunctionResult::Success(hash) = result {
                    value = self.hash(hash)?;
                }
                result.discriminant()
            }
            Tr::ExtendFootprintTtl(result) => result.discriminant(),
            Tr::RestoreFootprint(result) => result.discriminant(),
        };
        Ok((code, value))
    }

    fn path(&self, offers: &[ClaimAtom<'a>], last: &SimplePaymentResult<'a>) -> Built<'py> {
        let items = [
            self.claim_atoms(offers)?,
            self.account(&last.destination)?,
            self.asset(&last.asset)?,
            self.int(last.amount)?,
        ];
        self.row(Row::PathPaymentResult, items)
    }

    fn offer_result(&self, success: &ManageOfferSuccessResult<'a>) -> Built<'py> {
        let offer = match &success.offer {
            ManageOfferSuccessResultOffer::Created(offer) | ManageOfferSuccessResultOffer::Updated(offer) => {
                self.offer(offer)?
            }
            ManageOfferSuccessResultOffer::Deleted => self.none.clone(),
        };
        let effect = self.int(success.offer.discriminant())?;
        self.row(Row::OfferResult, [self.claim_atoms(&success.offers_claimed)?, effect, offer])
    }

    fn claim_atoms(&self, atoms: &[ClaimAtom<'a>]) -> Built<'py> {
        tuple(self.py, atoms, |atom| {
            let kind = self.int(atom.discriminant())?;
            match atom {
                ClaimAtom::V0(a) => {
                    let seller = self.account_key(a.seller_ed25519)?;
                    let trade = self.trade(&a.asset_sold, a.amount_sold, &a.asset_bought, a.amount_bought)?;
                    self.claim_atom([kind, seller, self.none.clone(), self.int(a.offer_id)?], trade)
                }
                ClaimAtom::OrderBook(a) => {
                    let seller = self.account(&a.seller_id)?;
                    let trade = self.trade(&a.asset_sold, a.amount_sold, &a.asset_bought, a.amount_bought)?;
                    self.claim_atom([kind, seller, self.none.clone(), self.int(a.offer_id)?], trade)
                }
                ClaimAtom::LiquidityPool(a) => {
                    let pool = self.hash(a.liquidity_pool_id)?;
                    let trade = self.trade(&a.asset_sold, a.amount_sold, &a.asset_bought, a.amount_bought)?;
                    self.claim_atom([kind, self.none.clone(), pool, self.int(0)?], trade)
                }
            }
        })
    }

    fn trade(&self, sold: &Asset<'a>, sent: i64, bought: &Asset<'a>, got: i64) -> Result<[Object<'py>; 4], Raised> {
        Ok([self.asset(sold)?, self.int(sent)?, self.asset(bought)?, self.int(got)?])
    }

    fn claim_atom(&self, source: [Object<'py>; 4], trade: [Object<'py>; 4]) -> Built<'py> {
        let [kind, seller, pool, offer] = source;
        let [sold, amount_sold, bought, amount_bought] = trade;
        self.row(Row::ClaimAtom, [kind, seller, pool, offer, sold, amount_sold, bought, amount_bought])
    }
}
