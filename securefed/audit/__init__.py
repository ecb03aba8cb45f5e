"""The auditor's side: a ledger is checked offline, and what was found is told to people.

:mod:`securefed.audit.auditor` is the Python interface, :mod:`securefed.audit.report` turns a result
into plain data, and :mod:`securefed.audit.html` turns that data into one page without any script.
"""
