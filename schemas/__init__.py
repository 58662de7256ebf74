"""The contracts every room shares: ids, addresses, state-change taxonomy, parts, Kafka messages. Imports nothing of ours."""
