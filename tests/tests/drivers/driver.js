// node-postgres as its users use it. The connection string is the first argument; NODE_PATH leads to the module.
const assert = require('node:assert/strict');
const { Client, Pool, types } = require('pg');

const connectionString = process.argv[2];

async function fails(promise, code, constraint) {
  try {
    await promise;
  } catch (error) {
    assert.equal(error.code, code, error.message);
    if (constraint) assert.equal(error.constraint, constraint);
    return;
  }
  assert.fail(`no error, expected ${code}`);
}

const parts = {
  async parameters(client) {
    const { rows, fields, rowCount } = await client.query(
      'SELECT $1::int AS i, $2::text AS t, $3::bool AS b, $4::int8 AS l, $5::numeric AS n, $6::float8 AS f, $7::bytea AS x',
      [7, "it's ü", true, '9007199254740993', '1.50', 0.25, Buffer.from([0, 255])],
    );
    assert.equal(rowCount, 1);
    assert.deepEqual(fields.map((f) => f.dataTypeID), [23, 25, 16, 20, 1700, 701, 17]);
    assert.deepEqual(rows[0], { i: 7, t: "it's ü", b: true, l: '9007199254740993', n: '1.50', f: 0.25, x: Buffer.from([0, 255]) });
    assert.deepEqual((await client.query('SELECT $1::int AS a, $2::text AS b', [null, null])).rows, [{ a: null, b: null }]);
  },
  async types(client) {
    await client.query(`CREATE TABLE js_types (id serial PRIMARY KEY, d timestamptz, j jsonb, js json, u uuid, a int[], ta text[], iv interval)`);
    const when = new Date('2024-02-29T12:34:56.789Z');
    const { rows } = await client.query(
      'INSERT INTO js_types (d, j, js, u, a, ta, iv) VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING *',
      [when, { a: [1, null] }, { b: 'x' }, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', [1, 2, null], ['a b', 'c"d', null], '1 day 02:00:00'],
    );
    const [row] = rows;
    assert.equal(row.id, 1);
    assert.equal(row.d.getTime(), when.getTime());
    assert.deepEqual(row.j, { a: [1, null] });
    assert.deepEqual(row.js, { b: 'x' });
    assert.deepEqual(row.a, [1, 2, null]);
    assert.deepEqual(row.ta, ['a b', 'c"d', null]);
    assert.equal(row.iv.days, 1);
    assert.equal(row.iv.hours, 2);
  },
  async prepared(client) {
    await client.query('CREATE TABLE js_t (id int PRIMARY KEY, name text)');
    for (let i = 0; i < 20; i++) {
      await client.query({ name: 'insert', text: 'INSERT INTO js_t VALUES ($1, $2)', values: [i, `name ${i}`] });
    }
    for (let i = 0; i < 20; i++) {
      const { rows } = await client.query({ name: 'select', text: 'SELECT name FROM js_t WHERE id = $1', values: [i] });
      assert.deepEqual(rows, [{ name: `name ${i}` }]);
    }
    const { rows } = await client.query({ text: 'SELECT id, name FROM js_t WHERE id < 2 ORDER BY id', rowMode: 'array' });
    assert.deepEqual(rows, [[0, 'name 0'], [1, 'name 1']]);
    const updated = await client.query('UPDATE js_t SET name = $1 WHERE id BETWEEN $2 AND $3', ['x', 3, 5]);
    assert.equal(updated.rowCount, 3);
    assert.equal(updated.command, 'UPDATE');
    const several = await client.query('SELECT 1 AS a; SELECT 2 AS b');
    assert.deepEqual(several.map((result) => result.rows), [[{ a: 1 }], [{ b: 2 }]]);
  },
  async failures(client) {
    await client.query('CREATE TABLE js_f (id int PRIMARY KEY, p int REFERENCES js_f, k int CHECK (k > 0), n int NOT NULL DEFAULT 1)');
    await client.query('INSERT INTO js_f VALUES (1)');
    await fails(client.query('INSERT INTO js_f VALUES (1)'), '23505', 'js_f_pkey');
    await fails(client.query('INSERT INTO js_f VALUES ($1, $2)', [2, 9]), '23503', 'js_f_p_fkey');
    await fails(client.query('INSERT INTO js_f VALUES (2, NULL, 0)'), '23514', 'js_f_k_check');
    await fails(client.query('INSERT INTO js_f VALUES (2, NULL, 1, NULL)'), '23502');
    await fails(client.query('SELECT $1::int', ['x']), '22P02');
    await fails(client.query('SELECT * FROM js_nowhere'), '42P01');
    await fails(client.query('SELECT 1 /'), '42601');
    assert.deepEqual((await client.query('SELECT 1 AS one')).rows, [{ one: 1 }]);
  },
  async transactions(client) {
    await client.query('CREATE TABLE js_tx (id int PRIMARY KEY)');
    await client.query('BEGIN');
    await client.query('INSERT INTO js_tx VALUES ($1)', [1]);
    await fails(client.query('INSERT INTO js_tx VALUES (1)'), '23505');
    await fails(client.query('SELECT 1'), '25P02');
    await client.query('ROLLBACK');
    assert.equal((await client.query('SELECT * FROM js_tx')).rowCount, 0);
  },
  async pool() {
    const pool = new Pool({ connectionString, max: 5 });
    await pool.query('CREATE TABLE js_pool (id int PRIMARY KEY)');
    await Promise.all(Array.from({ length: 40 }, (_, i) => pool.query('INSERT INTO js_pool VALUES ($1)', [i])));
    assert.deepEqual((await pool.query('SELECT count(*) FROM js_pool')).rows, [{ count: '40' }]);
    await pool.end();
  },
};

(async () => {
  const failed = [];
  for (const [name, part] of Object.entries(parts)) {
    const client = new Client({ connectionString });
    await client.connect();
    try {
      await part(client);
    } catch (error) {
      failed.push(`${name}: ${error.stack}`);
    }
    await client.end();
  }
  if (failed.length > 0) {
    console.error(failed.join('\n'));
    process.exit(1);
  }
})();
