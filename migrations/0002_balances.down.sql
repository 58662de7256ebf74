DROP TABLE account_contract_tokens;
DROP TABLE sac_balances;
DROP TABLE native_balances;
DROP TABLE trustline_balances;
DROP TABLE contract_tokens;
DROP TABLE trustline_assets;
