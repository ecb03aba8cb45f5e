"""The auditor: reads an exported ledger and verifies it, offline."""
