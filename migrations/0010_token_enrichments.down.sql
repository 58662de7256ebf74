DROP TABLE token_enrichments;
