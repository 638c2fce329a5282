import java.math.BigDecimal;
import java.sql.BatchUpdateException;
import java.sql.CallableStatement;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.Date;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Timestamp;
import java.sql.Types;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.UUID;

/** JDBC as its users use it. The URL is the first argument. */
public class Driver {
    interface Part {
        void run(Connection connection) throws Exception;
    }

    static void equal(Object expected, Object actual) {
        if (expected == null ? actual != null : !expected.equals(actual)) {
            throw new AssertionError("expected " + expected + ", got " + actual);
        }
    }

    static void fails(String state, Statement statement, String sql) throws SQLException {
        try {
            statement.execute(sql);
        } catch (SQLException error) {
            equal(state, error.getSQLState());
            return;
        }
        throw new AssertionError("no error: " + sql);
    }

    static void types(Connection c) throws Exception {
        try (Statement s = c.createStatement()) {
            s.execute("CREATE TABLE java_types (id serial PRIMARY KEY, b bool, s int2, i int4, l int8, f float4, d float8, n numeric(12,3),"
                + " t text, x bytea, dt date, ts timestamp, tz timestamptz, u uuid, a int[])");
        }
        String sql = "INSERT INTO java_types (b, s, i, l, f, d, n, t, x, dt, ts, tz, u, a) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)";
        UUID uuid = UUID.fromString("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");
        // The driver turns to named statements and binary results after five executions.
        for (int i = 1; i <= 8; i++) {
            try (PreparedStatement p = c.prepareStatement(sql, Statement.RETURN_GENERATED_KEYS)) {
                p.setBoolean(1, true);
                p.setShort(2, (short) -3);
                p.setInt(3, i);
                p.setLong(4, 1L << 40);
                p.setFloat(5, 0.5f);
                p.setDouble(6, 1.0 / 3);
                p.setBigDecimal(7, new BigDecimal("12345.678"));
                p.setString(8, "grüße");
                p.setBytes(9, new byte[] {0, -1});
                p.setDate(10, Date.valueOf("2024-02-29"));
                p.setTimestamp(11, Timestamp.valueOf("2024-01-02 03:04:05.000006"));
                p.setTimestamp(12, Timestamp.valueOf("2024-01-02 03:04:05"));
                p.setObject(13, uuid);
                p.setArray(14, c.createArrayOf("int4", new Integer[] {1, null, 3}));
                equal(1, p.executeUpdate());
                try (ResultSet keys = p.getGeneratedKeys()) {
                    equal(true, keys.next());
                    equal(i, keys.getInt("id"));
                }
            }
        }
        try (PreparedStatement p = c.prepareStatement("SELECT * FROM java_types WHERE id = ?")) {
            for (int i = 1; i <= 8; i++) {
                p.setInt(1, i);
                try (ResultSet r = p.executeQuery()) {
                    equal(true, r.next());
                    equal(true, r.getBoolean("b"));
                    equal((short) -3, r.getShort("s"));
                    equal(i, r.getInt("i"));
                    equal(1L << 40, r.getLong("l"));
                    equal(1.0 / 3, r.getDouble("d"));
                    equal(new BigDecimal("12345.678"), r.getBigDecimal("n"));
                    equal("grüße", r.getString("t"));
                    equal(true, Arrays.equals(new byte[] {0, -1}, r.getBytes("x")));
                    equal(Date.valueOf("2024-02-29"), r.getDate("dt"));
                    equal(Timestamp.valueOf("2024-01-02 03:04:05.000006"), r.getTimestamp("ts"));
                    equal(uuid, r.getObject("u"));
                    equal(Arrays.asList(1, null, 3), Arrays.asList((Object[]) r.getArray("a").getArray()));
                }
            }
        }
        try (PreparedStatement p = c.prepareStatement("INSERT INTO java_types (i, t, dt) VALUES (?, ?, ?) RETURNING i, t, dt")) {
            p.setNull(1, Types.INTEGER);
            p.setNull(2, Types.VARCHAR);
            p.setNull(3, Types.DATE);
            try (ResultSet r = p.executeQuery()) {
                equal(true, r.next());
                equal(0, r.getInt(1));
                equal(true, r.wasNull());
                equal(null, r.getString(2));
                equal(null, r.getDate(3));
            }
        }
    }

    static void batches(Connection c) throws Exception {
        try (Statement s = c.createStatement()) {
            s.execute("CREATE TABLE java_batch (id int PRIMARY KEY, t text)");
        }
        try (PreparedStatement p = c.prepareStatement("INSERT INTO java_batch VALUES (?, ?)")) {
            for (int i = 0; i < 500; i++) {
                p.setInt(1, i);
                p.setString(2, "row " + i);
                p.addBatch();
            }
            equal(500, p.executeBatch().length);
            p.setInt(1, 1000);
            p.setString(2, "new");
            p.addBatch();
            p.setInt(1, 1);
            p.setString(2, "again");
            p.addBatch();
            try {
                p.executeBatch();
                throw new AssertionError("accepted a duplicate");
            } catch (BatchUpdateException error) {
                equal("23505", error.getSQLState());
            }
        }
        // A cursor: rows come in portions.
        c.setAutoCommit(false);
        try (PreparedStatement p = c.prepareStatement("SELECT id FROM java_batch ORDER BY id")) {
            p.setFetchSize(37);
            int rows = 0;
            try (ResultSet r = p.executeQuery()) {
                while (r.next()) {
                    equal(rows++, r.getInt(1));
                }
            }
            equal(500, rows);
        }
        c.commit();
        c.setAutoCommit(true);
    }

    static void generatedKeysAndCopies(Connection c) throws Exception {
        try (Statement s = c.createStatement()) {
            s.execute("CREATE TABLE java_keys (id bigserial PRIMARY KEY, t text, at timestamptz DEFAULT now())");
        }
        try (PreparedStatement p = c.prepareStatement("INSERT INTO java_keys (t) VALUES (?)", new String[] {"id", "at"})) {
            for (int i = 0; i < 50; i++) {
                p.setString(1, "t" + i);
                p.addBatch();
            }
            equal(50, p.executeBatch().length);
            long expected = 1;
            try (ResultSet keys = p.getGeneratedKeys()) {
                while (keys.next()) {
                    equal(expected++, keys.getLong(1));
                    equal(true, keys.getTimestamp("at") != null);
                }
            }
            equal(51L, expected);
        }
        // A result that can be changed and walked both ways.
        try (Statement s = c.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_UPDATABLE);
             ResultSet r = s.executeQuery("SELECT id, t FROM java_keys WHERE id <= 3 ORDER BY id")) {
            equal(true, r.last());
            equal(3, r.getRow());
            r.updateString("t", "changed");
            r.updateRow();
            equal(true, r.first());
            r.deleteRow();
        }
        org.postgresql.PGConnection pg = c.unwrap(org.postgresql.PGConnection.class);
        java.io.StringWriter out = new java.io.StringWriter();
        equal(2L, pg.getCopyAPI().copyOut("COPY (SELECT id, t FROM java_keys WHERE id <= 3 ORDER BY id) TO STDOUT", out));
        equal("2\tt1\n3\tchanged\n", out.toString());
        equal(2L, pg.getCopyAPI().copyIn("COPY java_keys (id, t) FROM STDIN", new java.io.StringReader("100\tx\n101\t\\N\n")));
        // Statements of several results.
        try (Statement s = c.createStatement()) {
            equal(true, s.execute("SELECT 1; UPDATE java_keys SET t = 'y' WHERE id >= 100; SELECT 2"));
            equal(false, s.getMoreResults());
            equal(2, s.getUpdateCount());
            equal(true, s.getMoreResults());
            s.setMaxRows(7);
            int rows = 0;
            try (ResultSet r = s.executeQuery("SELECT id FROM java_keys")) {
                while (r.next()) {
                    rows++;
                }
            }
            equal(7, rows);
        }
    }

    static void transactions(Connection c) throws Exception {
        c.setAutoCommit(false);
        c.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
        try (Statement s = c.createStatement()) {
            s.execute("CREATE TABLE java_tx (id int PRIMARY KEY)");
            s.execute("INSERT INTO java_tx VALUES (1)");
            Savepoint savepoint = c.setSavepoint("here");
            fails("23505", s, "INSERT INTO java_tx VALUES (1)");
            fails("25P02", s, "SELECT 1");
            c.rollback(savepoint);
            s.execute("INSERT INTO java_tx VALUES (2)");
            c.commit();
            try (ResultSet r = s.executeQuery("SELECT count(*) FROM java_tx")) {
                r.next();
                equal(2, r.getInt(1));
            }
            c.rollback();
            c.setReadOnly(true);
            fails("25006", s, "INSERT INTO java_tx VALUES (3)");
            c.rollback();
            c.setReadOnly(false);
        }
        c.setAutoCommit(true);
    }

    static void failures(Connection c) throws Exception {
        try (Statement s = c.createStatement()) {
            fails("42P01", s, "SELECT * FROM java_nowhere");
            fails("42703", s, "SELECT nothing");
            fails("42601", s, "SELEC");
            fails("22012", s, "SELECT 1 / 0");
            fails("22P02", s, "SELECT 'x'::int");
            s.setQueryTimeout(1);
            fails("57014", s, "SELECT pg_sleep(60)");
        }
    }

    static void calls(Connection c) throws Exception {
        try (CallableStatement call = c.prepareCall("{? = call abs(?)}")) {
            call.registerOutParameter(1, Types.INTEGER);
            call.setInt(2, -7);
            call.execute();
            equal(7, call.getInt(1));
        }
        try (CallableStatement call = c.prepareCall("{? = call upper(?)}")) {
            call.registerOutParameter(1, Types.VARCHAR);
            call.setString(2, "loud");
            call.execute();
            equal("LOUD", call.getString(1));
        }
        try (PreparedStatement p = c.prepareStatement("SELECT {fn concat('a', ?)}, {d '2024-02-29'}, {fn length({fn ucase('abc')})}")) {
            p.setString(1, "b");
            try (ResultSet r = p.executeQuery()) {
                r.next();
                equal("ab", r.getString(1));
                equal(Date.valueOf("2024-02-29"), r.getDate(2));
                equal(3, r.getInt(3));
            }
        }
    }

    static void metadata(Connection c) throws Exception {
        try (Statement s = c.createStatement()) {
            s.execute("CREATE TABLE java_meta (id int PRIMARY KEY, name varchar(20) NOT NULL, p int REFERENCES java_meta)");
        }
        DatabaseMetaData meta = c.getMetaData();
        equal("PostgreSQL", meta.getDatabaseProductName());
        List<String> columns = new ArrayList<>();
        try (ResultSet r = meta.getColumns(null, "public", "java_meta", "%")) {
            while (r.next()) {
                columns.add(r.getString("COLUMN_NAME") + " " + r.getString("TYPE_NAME") + " " + r.getInt("COLUMN_SIZE") + " " + r.getString("IS_NULLABLE"));
            }
        }
        equal(Arrays.asList("id int4 10 NO", "name varchar 20 NO", "p int4 10 YES"), columns);
        try (ResultSet r = meta.getPrimaryKeys(null, "public", "java_meta")) {
            equal(true, r.next());
            equal("id", r.getString("COLUMN_NAME"));
        }
        try (ResultSet r = meta.getImportedKeys(null, "public", "java_meta")) {
            equal(true, r.next());
            equal("java_meta", r.getString("PKTABLE_NAME"));
        }
        try (ResultSet r = meta.getExportedKeys(null, "public", "java_meta")) {
            equal(true, r.next());
            equal("p", r.getString("FKCOLUMN_NAME"));
        }
        try (Statement s = c.createStatement()) {
            s.execute("CREATE TABLE java_meta2 (a int, b int, c text, PRIMARY KEY (c, a), UNIQUE (b))");
        }
        List<String> keys = new ArrayList<>();
        try (ResultSet r = meta.getPrimaryKeys(null, null, "java_meta2")) {
            while (r.next()) {
                keys.add(r.getShort("KEY_SEQ") + " " + r.getString("COLUMN_NAME") + " " + r.getString("PK_NAME"));
            }
        }
        equal(Arrays.asList("1 c java_meta2_pkey", "2 a java_meta2_pkey"), keys);
        for (ResultSet r : new ResultSet[] {meta.getSchemas(), meta.getCatalogs(), meta.getTypeInfo(), meta.getTableTypes()}) {
            equal(true, r.next());
            r.close();
        }
        for (ResultSet r : new ResultSet[] {
            meta.getProcedures(null, "public", "%"), meta.getFunctions(null, "public", "%"), meta.getUDTs(null, "nowhere", "%", null),
            meta.getTablePrivileges(null, "public", "java_nowhere"),
        }) {
            equal(false, r.next());
            r.close();
        }
        try (ResultSet r = meta.getBestRowIdentifier(null, "public", "java_meta", DatabaseMetaData.bestRowSession, false)) {
            equal(true, r.next());
            equal("id", r.getString("COLUMN_NAME"));
        }
        // What a statement tells about itself before and after it runs.
        try (PreparedStatement p = c.prepareStatement("SELECT id, name, p + 1 AS q FROM java_meta WHERE id = ? AND name = ?")) {
            equal(2, p.getParameterMetaData().getParameterCount());
            equal("int4", p.getParameterMetaData().getParameterTypeName(1));
            equal("text", p.getParameterMetaData().getParameterTypeName(2));
            java.sql.ResultSetMetaData columnsOf = p.getMetaData();
            equal(3, columnsOf.getColumnCount());
            equal("q", columnsOf.getColumnLabel(3));
            equal("java_meta", columnsOf.getTableName(2));
            equal(java.sql.ResultSetMetaData.columnNoNulls, columnsOf.isNullable(2));
            equal(20, columnsOf.getPrecision(2));
        }
        try (ResultSet r = meta.getTables(null, "public", "java_meta", new String[] {"TABLE"})) {
            equal(true, r.next());
        }
        try (ResultSet r = meta.getIndexInfo(null, "public", "java_meta", false, false)) {
            equal(true, r.next());
            equal("java_meta_pkey", r.getString("INDEX_NAME"));
        }
    }

    public static void main(String[] args) throws Exception {
        Part[] parts = {Driver::types, Driver::batches, Driver::generatedKeysAndCopies, Driver::transactions, Driver::failures, Driver::calls, Driver::metadata};
        String[] names = {"types", "batches", "keys and copies", "transactions", "failures", "calls", "metadata"};
        boolean failed = false;
        for (int i = 0; i < parts.length; i++) {
            try (Connection connection = DriverManager.getConnection(args[0], "stratos", "")) {
                parts[i].run(connection);
            } catch (Throwable error) {
                System.err.print(names[i] + ": ");
                error.printStackTrace();
                failed = true;
            }
        }
        System.exit(failed ? 1 : 0);
    }
}
