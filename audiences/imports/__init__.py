"""The one road by which rows come in: the same for ``manage.py import``, the screen and the API.

1. :mod:`reading`: a file (CSV, .csv.gz, .xlsx, any common encoding) becomes rows of text; what is not even a
   row is refused with its line.
2. :mod:`staging`: rows go by COPY into an unlogged table of text, then in one statement into a typed one.
3. :mod:`checking`: cells that cannot be read as their column's kind, missing required ones and the kind's own
   ``check`` put (line, column, value, reason) into the table of bad rows, by SQL.
4. :mod:`loading`: the kind's ``load`` moves the good rows by SQL, in one transaction with the batch's counts.
5. :mod:`batches`: what was loaded, its bad rows as a file to mend and load again, and taking a batch back.

Adding a kind
-------------
Register an :class:`~audiences.registers.ImportKind` in ``AppConfig.ready``. Its functions get a
:class:`~audiences.imports.staging.Staged` and write SQL against two tables:

- ``{rows}``: ``line bigint`` and one column for each :class:`~audiences.registers.ImportColumn` by its name,
  typed (text, bigint, numeric, timestamptz, date, boolean, jsonb), NULL where the cell was empty or the file
  has no such column; ``extra jsonb`` if the kind takes other columns. In ``load`` only good rows are left.
- ``{bad}``: use ``staged.refuse(column, reason, where)``.

``staged.execute(sql, **params)`` fills in ``{rows}`` and ``{bad}``, gives ``%(batch)s``, ``%(brand)s`` (id),
``%(now)s`` and returns the row count. Rows that name a customer declare ``*CUSTOMER_COLUMNS`` and call
``resolve_customers(staged)`` in ``check`` (:mod:`audiences.imports.kinds.people`): ``{rows}`` then has
``customer_id`` (a survivor), and rows of nobody are refused.
"""
