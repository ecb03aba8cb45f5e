"""The demonstration: five companies, six processes, one of them killed on the way."""
