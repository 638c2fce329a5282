"""psycopg 3 as its users use it. The connection string is the first argument."""

import datetime
import decimal
import sys
import uuid

import psycopg
from psycopg import errors
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

URI = sys.argv[1]


def types(conn):
    conn.execute(
        "CREATE TABLE py_types (id serial PRIMARY KEY, b bool, s int2, i int4, l int8, f4 float4, f8 float8, n numeric(20,5),"
        " t text, v varchar(10), c char(4), bin bytea, d date, tm time, ts timestamp, tz timestamptz, iv interval, u uuid, j jsonb,"
        " a int[], ta text[])"
    )
    utc = datetime.timezone.utc
    row = (
        True, -3, 7, 1 << 40, 0.5, 1 / 3, decimal.Decimal("12345.67890"), "grüße\n'x'", "var", "ch", b"\x00\xffbin",
        datetime.date(2024, 2, 29), datetime.time(1, 2, 3, 456), datetime.datetime(2024, 1, 2, 3, 4, 5, 6),
        datetime.datetime(2024, 1, 2, 3, 4, 5, 6, utc), datetime.timedelta(days=3, seconds=4, microseconds=5),
        uuid.UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"), Jsonb({"a": [1, None, "x"]}), [1, None, 3], ["a b", None, 'q"'],
    )
    marks = ",".join(["%s"] * len(row))
    names = "b,s,i,l,f4,f8,n,t,v,c,bin,d,tm,ts,tz,iv,u,j,a,ta"
    nulls = (None,) * len(row)
    for binary in (False, True):
        cur = conn.cursor(binary=binary)
        marked = ",".join(["%b"] * len(row)) if binary else marks
        cur.execute(f"INSERT INTO py_types ({names}) VALUES ({marked}) RETURNING id", row)
        (key,) = cur.fetchone()
        got = cur.execute(f"SELECT {names} FROM py_types WHERE id = %s", (key,)).fetchone()
        want = list(row)
        want[9] = "ch  "
        want[17] = {"a": [1, None, "x"]}
        assert list(got) == want, (binary, [(g, w) for g, w in zip(got, want) if g != w])
        cur.execute(f"INSERT INTO py_types ({names}) VALUES ({marks}) RETURNING {names}", nulls)
        assert cur.fetchone() == nulls


def statements(conn):
    conn.execute("CREATE TABLE py_t (id int PRIMARY KEY, name text, n numeric)")
    cur = conn.cursor()
    cur.executemany("INSERT INTO py_t VALUES (%s, %s, %s)", [(i, f"name {i}", i / 2) for i in range(100)])
    assert cur.rowcount == 100
    cur.executemany("INSERT INTO py_t VALUES (%s, %s, %s) RETURNING id", [(i, "x", None) for i in (200, 201)], returning=True)
    ids = [cur.fetchone()[0]]
    while cur.nextset():
        ids.append(cur.fetchone()[0])
    assert ids == [200, 201], ids
    # psycopg prepares after five executions by itself.
    for i in range(12):
        assert conn.execute("SELECT name FROM py_t WHERE id = %s", (i,)).fetchone() == (f"name {i}",)
    assert conn.execute("SELECT count(*) FROM pg_prepared_statements").fetchone()[0] > 0
    assert conn.execute("SELECT name FROM py_t WHERE id = %s", (3,), prepare=True).fetchone() == ("name 3",)
    assert conn.execute("SELECT id FROM py_t WHERE id = ANY(%s) ORDER BY id", ([1, 2, 999],)).fetchall() == [(1,), (2,)]
    cur = conn.cursor(row_factory=dict_row)
    assert cur.execute("SELECT id, name AS title FROM py_t WHERE id = 1").fetchone() == {"id": 1, "title": "name 1"}
    assert [c.name for c in cur.description] == ["id", "title"]
    # A prepared statement survives a change of its table.
    conn.execute("ALTER TABLE py_t ADD COLUMN extra int DEFAULT 5")
    assert conn.execute("SELECT name FROM py_t WHERE id = %s", (3,)).fetchone() == ("name 3",)
    with conn.pipeline():
        cursors = [conn.execute("SELECT %s::int + 1", (i,)) for i in range(50)]
        assert [c.fetchone()[0] for c in cursors] == list(range(1, 51))
    conn.execute("DEALLOCATE ALL")


def server_cursors(conn):
    with conn.transaction():
        with conn.cursor("named") as cur:
            cur.itersize = 7
            cur.execute("SELECT g FROM generate_series(1, %s) g", (100,))
            assert [r[0] for r in cur] == list(range(1, 101))
        with conn.cursor("scrolling", scrollable=True) as cur:
            cur.execute("SELECT g FROM generate_series(1, 10) g")
            assert cur.fetchmany(3) == [(1,), (2,), (3,)]
            cur.scroll(-2)
            assert cur.fetchone() == (2,)
            cur.scroll(9, mode="absolute")
            assert cur.fetchall() == [(10,)]
    with conn.cursor() as cur:
        assert sum(1 for _ in cur.stream("SELECT g FROM generate_series(1, 1000) g")) == 1000


def copy(conn):
    conn.execute("CREATE TABLE py_copy (id int PRIMARY KEY, t text, d date)")
    cur = conn.cursor()
    with cur.copy("COPY py_copy FROM STDIN") as copy:
        for i in range(1000):
            copy.write_row((i, None if i % 3 == 0 else f"tab\tnl\n\\{i}", datetime.date(2024, 1, 1)))
    assert cur.rowcount == 1000
    with cur.copy("COPY (SELECT * FROM py_copy ORDER BY id) TO STDOUT") as copy:
        copy.set_types(["int4", "text", "date"])
        rows = list(copy.rows())
    assert rows[1] == (1, "tab\tnl\n\\1", datetime.date(2024, 1, 1)) and rows[3][1] is None and len(rows) == 1000
    with cur.copy("COPY (SELECT * FROM py_copy WHERE id < 10 ORDER BY id) TO STDOUT (FORMAT BINARY)") as copy:
        copy.set_types(["int4", "text", "date"])
        binary = list(copy.rows())
    assert binary == rows[:10]
    cur.execute("TRUNCATE py_copy")
    with cur.copy("COPY py_copy (id, t, d) FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(["int4", "text", "date"])
        for row in rows[:10]:
            copy.write_row(row)
    assert cur.execute("SELECT * FROM py_copy ORDER BY id").fetchall() == rows[:10]
    with cur.copy("COPY py_copy FROM STDIN (FORMAT csv, HEADER, NULL 'nil', DELIMITER ';')") as copy:
        copy.write('id;t;d\n100;"a;""b""";2024-05-06\n101;nil;nil\n')
    assert cur.execute("SELECT t FROM py_copy WHERE id >= 100 ORDER BY id").fetchall() == [('a;"b"',), (None,)]
    try:
        with cur.copy("COPY py_copy FROM STDIN") as copy:
            copy.write("500\tx\t2024-01-01\nnonsense\tx\t2024-01-01\n")
        raise AssertionError("accepted nonsense")
    except errors.InvalidTextRepresentation:
        pass
    assert cur.execute("SELECT count(*) FROM py_copy WHERE id = 500").fetchone() == (0,)


def transactions(conn):
    conn.execute("CREATE TABLE py_tx (id int PRIMARY KEY)")
    with conn.transaction():
        conn.execute("INSERT INTO py_tx VALUES (1)")
        try:
            with conn.transaction():
                conn.execute("INSERT INTO py_tx VALUES (2)")
                conn.execute("INSERT INTO py_tx VALUES (1)")
        except errors.UniqueViolation as error:
            assert error.diag.constraint_name == "py_tx_pkey" and error.diag.table_name == "py_tx", vars(error.diag)
            assert error.diag.message_detail == "Key (id)=(1) already exists.", error.diag.message_detail
        conn.execute("INSERT INTO py_tx VALUES (3)")
    assert conn.execute("SELECT id FROM py_tx ORDER BY id").fetchall() == [(1,), (3,)]
    other = psycopg.connect(URI)
    other.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    other.execute("SELECT * FROM py_tx")
    conn.execute("UPDATE py_tx SET id = 4 WHERE id = 3")
    try:
        other.execute("UPDATE py_tx SET id = 5 WHERE id = 3")
        raise AssertionError("lost update")
    except errors.SerializationFailure:
        other.rollback()
    other.close()
    assert conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def failures(conn):
    for sql, parameters, kind in [
        ("SELECT * FROM py_nowhere", None, errors.UndefinedTable),
        ("SELECT nothing FROM py_t", None, errors.UndefinedColumn),
        ("SELEC", None, errors.SyntaxError),
        ("SELECT %s::int", ("x",), errors.InvalidTextRepresentation),
        ("SELECT 1 / %s::int", (0,), errors.DivisionByZero),
        ("SELECT %s::int2", (70000,), errors.NumericValueOutOfRange),
        ("INSERT INTO py_t (id) VALUES (NULL)", None, errors.NotNullViolation),
        ("SELECT py_none(1)", None, errors.UndefinedFunction),
        ("SELECT 1 + true", None, errors.UndefinedFunction),
        ("CREATE TABLE py_t (a int)", None, errors.DuplicateTable),
    ]:
        try:
            conn.execute(sql, parameters)
        except kind:
            continue
        raise AssertionError(sql)
    try:
        conn.execute("SELECT nothing")
    except errors.UndefinedColumn as error:
        assert error.diag.statement_position == "8" and error.diag.severity == "ERROR", vars(error.diag)
    notices = []
    conn.add_notice_handler(lambda notice: notices.append((notice.severity, notice.sqlstate)))
    conn.execute("DROP TABLE IF EXISTS py_nowhere")
    assert notices == [("NOTICE", "00000")], notices
    assert conn.execute("SELECT 1").fetchone() == (1,)


failed = []
for part in (types, statements, server_cursors, copy, transactions, failures):
    with psycopg.connect(URI, autocommit=True) as connection:
        try:
            part(connection)
        except Exception as error:  # what one part finds should not hide what the next would
            failed.append(f"{part.__name__}: {type(error).__name__}: {error} (line {error.__traceback__.tb_next.tb_lineno})")
if failed:
    sys.exit("\n".join(failed))
