DROP TABLE sep41_allowances;
DROP TABLE sep41_balances;
DROP TABLE protocol_contracts;
DROP TABLE protocol_wasms;
DROP TABLE protocols;
