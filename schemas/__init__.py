"""The contracts every room shares: ids, addresses, the state-change taxonomy, parts and Kafka messages. Imports nothing of ours."""
