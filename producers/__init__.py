"""Whatever publishes to Kafka: ledger sources and the ledger producer, and the publisher of committed state changes."""
