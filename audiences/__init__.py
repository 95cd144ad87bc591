"""WHO: customers, identities, consent, contact state, segments, imports, privacy."""
