DROP TABLE trades;
DROP TABLE claimable_balance_events;
DROP TABLE offers;
DROP TABLE claimable_balance_claimants;
DROP TABLE claimable_balances;
DROP TABLE liquidity_pool_balances;
DROP TABLE liquidity_pools;
