"""psycopg 3 as its users use it. The connection string is the first argument."""

import asyncio
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
    conn.execute("CREATE TEMP TABLE py_made AS SELECT %s::int AS n, %s AS t", (5, "x"))
    assert conn.execute("SELECT n, t FROM py_made").fetchall() == [(5, "x")]
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
    cur.execute("DELETE FROM py_copy WHERE id = 100")
    with cur.copy("COPY py_copy (t, id) FROM STDIN (FORMAT csv, HEADER MATCH)") as copy:
        copy.write("t,id\nx,100\n")
    for options, header, said in [
        ("FORMAT csv, HEADER Match", "id,t", 'column name mismatch in header line field 1: got "id", expected "t"'),
        ("HEADER MATCH", "t\t\\N", 'column name mismatch in header line field 2: got null value ("\\N"), expected "id"'),
        ("HEADER MATCH", "t", "wrong number of fields in header line: got 1, expected 2"),
    ]:
        try:
            with cur.copy(f"COPY py_copy (t, id) FROM STDIN ({options})") as copy:
                copy.write(f"{header}\n")
            raise AssertionError(f"accepted {header!r}")
        except errors.BadCopyFileFormat as error:
            assert error.diag.message_primary == said, error.diag.message_primary
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


def asynchronous(conn):
    async def worker(n):
        async with await psycopg.AsyncConnection.connect(URI, autocommit=True) as own:
            total = 0
            for i in range(20):
                cur = await own.execute("SELECT %s::int + %s::int", (n, i))
                total += (await cur.fetchone())[0]
            return total

    async def main():
        assert await asyncio.gather(*(worker(n) for n in range(10))) == [20 * n + 190 for n in range(10)]
        async with await psycopg.AsyncConnection.connect(URI) as own:
            task = asyncio.create_task(own.execute("SELECT pg_sleep(60)"))
            await asyncio.sleep(0.5)
            # Over TLS, where the server has it: raises an error unless the server ends the connection properly.
            await own.cancel_safe()
            try:
                await task
                raise AssertionError("not cancelled")
            except errors.QueryCanceled:
                await own.rollback()
            async with own.pipeline():
                cursors = [await own.execute("SELECT %s::int", (i,)) for i in range(30)]
                assert [(await cur.fetchone())[0] for cur in cursors] == list(range(30))
            try:
                async with own.pipeline():
                    await own.execute("SELECT 1 / %s::int", (0,))
                    await own.execute("SELECT 2")
                raise AssertionError("divided by zero")
            except errors.DivisionByZero:
                await own.rollback()
            async with own.cursor("async_named") as cur:
                await cur.execute("SELECT g, %s::text FROM generate_series(1, 250) g", ("x",))
                assert [row[0] async for row in cur] == list(range(1, 251))
            async with own.cursor() as cur:
                async with cur.copy("COPY (SELECT g FROM generate_series(1, 5000) g) TO STDOUT") as copy:
                    assert len([row async for row in copy.rows()]) == 5000

    asyncio.run(main())


def reflection(conn):
    """What SQLAlchemy asks about a table."""
    conn.execute(
        "CREATE TABLE sa_parent (id serial PRIMARY KEY, code varchar(8) NOT NULL UNIQUE, n numeric(10,2) DEFAULT 0.5);"
        "CREATE TABLE sa_child (a int, b int GENERATED ALWAYS AS IDENTITY, p int REFERENCES sa_parent ON DELETE CASCADE,"
        " note text DEFAULT 'none', CHECK (a > 0), PRIMARY KEY (b, a));"
        "CREATE INDEX sa_child_note ON sa_child (note, p); COMMENT ON COLUMN sa_child.note IS 'a remark'"
    )
    columns = conn.execute(
        "SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid)"
        " FROM pg_catalog.pg_attrdef d WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.atthasdef), a.attnotnull,"
        " pgd.description, a.attgenerated, (SELECT json_build_object('always', a.attidentity = 'a', 'start', s.seqstart,"
        " 'increment', s.seqincrement, 'minvalue', s.seqmin, 'maxvalue', s.seqmax, 'cache', s.seqcache, 'cycle', s.seqcycle)"
        " FROM pg_catalog.pg_sequence s WHERE a.attidentity != '' AND s.seqrelid = CAST(CAST(pg_catalog.pg_get_serial_sequence("
        "CAST(CAST(a.attrelid AS REGCLASS) AS TEXT), a.attname) AS REGCLASS) AS OID))"
        " FROM pg_catalog.pg_class c LEFT OUTER JOIN pg_catalog.pg_attribute a ON c.oid = a.attrelid AND a.attnum > %s"
        " AND NOT a.attisdropped LEFT OUTER JOIN pg_catalog.pg_description pgd ON pgd.objoid = a.attrelid AND pgd.objsubid = a.attnum"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = ANY (ARRAY['r', 'p', 'f', 'v', 'm'])"
        " AND pg_catalog.pg_table_is_visible(c.oid) AND n.nspname != 'pg_catalog' AND c.relname = ANY (%s)"
        " ORDER BY c.relname, a.attnum",
        (0, ["sa_child"]),
    ).fetchall()
    assert [(c[0], c[1], c[2], c[3], c[4]) for c in columns] == [
        ("a", "integer", None, True, None),
        ("b", "integer", None, True, None),
        ("p", "integer", None, False, None),
        ("note", "text", "'none'::text", False, "a remark"),
    ], columns
    assert columns[1][6] == {
        "always": True, "start": 1, "increment": 1, "minvalue": 1, "maxvalue": 2147483647, "cache": 1, "cycle": False,
    }, columns[1]
    keys = conn.execute(
        "SELECT attr.conname, array_agg(CAST(attr.attname AS TEXT) ORDER BY attr.ord), min(attr.description) FROM (SELECT"
        " con.conrelid, con.conname, con.description, con.ord, a.attname FROM pg_catalog.pg_attribute a JOIN (SELECT"
        " c.conrelid, c.conname, unnest(c.conkey) AS attnum, generate_subscripts(c.conkey, 1) AS ord, d.description"
        " FROM pg_catalog.pg_constraint c LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid = c.oid WHERE c.contype = %s"
        " AND c.conrelid = 'sa_child'::regclass) AS con ON a.attnum = con.attnum AND a.attrelid = con.conrelid) AS attr"
        " GROUP BY attr.conrelid, attr.conname ORDER BY 1",
        ("p",),
    ).fetchall()
    assert keys == [("sa_child_pkey", ["b", "a"], None)], keys
    foreign = conn.execute(
        "SELECT k.conname, pg_catalog.pg_get_constraintdef(k.oid, true), n.nspname FROM pg_catalog.pg_class c LEFT OUTER JOIN"
        " pg_catalog.pg_constraint k ON c.oid = k.conrelid AND k.contype = 'f' LEFT OUTER JOIN pg_catalog.pg_class r ON"
        " r.oid = k.confrelid LEFT OUTER JOIN pg_catalog.pg_namespace n ON r.relnamespace = n.oid"
        " WHERE c.relname = %s", ("sa_child",),
    ).fetchall()
    assert foreign == [("sa_child_p_fkey", "FOREIGN KEY (p) REFERENCES sa_parent(id) ON DELETE CASCADE", "public")], foreign
    indexes = conn.execute(
        "SELECT i.relname, x.indisunique, x.indoption::text, am.amname, cols.elements FROM pg_catalog.pg_index x JOIN"
        " pg_catalog.pg_class i ON i.oid = x.indexrelid JOIN pg_catalog.pg_am am ON i.relam = am.oid JOIN (SELECT"
        " e.indexrelid, array_agg(e.element ORDER BY e.ord) AS elements FROM (SELECT u.indexrelid, u.ord, CASE WHEN u.attnum = 0"
        " THEN pg_catalog.pg_get_indexdef(u.indexrelid, u.ord + 1, true) ELSE CAST(a.attname AS TEXT) END AS element FROM"
        " (SELECT x.indexrelid, x.indrelid, unnest(x.indkey) AS attnum, generate_subscripts(x.indkey, 1) AS ord FROM"
        " pg_catalog.pg_index x WHERE NOT x.indisprimary AND x.indrelid = ANY (%s::regclass[])) AS u LEFT OUTER JOIN"
        " pg_catalog.pg_attribute a ON a.attnum = u.attnum AND a.attrelid = u.indrelid) AS e GROUP BY e.indexrelid) AS cols"
        " ON cols.indexrelid = x.indexrelid ORDER BY 1",
        (["sa_child", "sa_parent"],),
    ).fetchall()
    assert indexes == [
        ("sa_child_note", False, "0 0", "btree", ["note", "p"]),
        ("sa_parent_code_key", True, "0", "btree", ["code"]),
    ], indexes
    cur = conn.execute("SELECT 'sa_child'::regclass, pg_typeof(1::numeric), ARRAY['int4', 'text']::regtype[]")
    assert [c.type_code for c in cur.description] == [2205, 2206, 2211], cur.description
    assert cur.fetchone() == ("sa_child", "numeric", ["integer", "text"])
    assert conn.execute("SELECT 'sa_child'::regclass = %s::regclass", ("sa_child",), binary=True).fetchone() == (True,)


failed = []
for part in (types, statements, server_cursors, copy, transactions, failures, asynchronous, reflection):
    with psycopg.connect(URI, autocommit=True) as connection:
        try:
            part(connection)
        except Exception as error:  # what one part finds should not hide what the next would
            failed.append(f"{part.__name__}: {type(error).__name__}: {error} (line {error.__traceback__.tb_next.tb_lineno})")
if failed:
    sys.exit("\n".join(failed))
