DROP TABLE state_changes;
DROP TABLE operations_accounts;
DROP TABLE operations;
DROP TABLE transactions_accounts;
DROP TABLE transactions;
