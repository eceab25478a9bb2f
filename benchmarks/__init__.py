"""What rltune costs, and what it finds, beside its peers. See README.md."""
