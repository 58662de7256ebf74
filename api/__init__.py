"""The read side over HTTP: GraphQL for wallets, health and metrics for operators. It reads the database and nothing else."""
