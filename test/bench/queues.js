// queues.js KIND CLIENTS WARM SECONDS JOBS: a slice of a job queue that has a worker in Node.js, in the database
// of PGDATABASE. Tops its queue up to JOBS waiting jobs, works on them WARM seconds that do not count, then
// SECONDS that do, and prints { jobs, seconds, dry }. dry: the queue was empty too early, the figure is void.
//
// A job does nothing. What counts is that the database has it as done:
//   graphile        run(): its own worker loop with CLIENTS concurrent jobs; each is fetched and completed alone
//   graphile-local  the same with a local queue of 500 jobs, and completions that wait for those of the same tick
//   pgboss-1        CLIENTS loops of fetch() and complete() of one job
//   pgboss-100      the same with batches of 100
//   taskex          CLIENTS loops of accept_next() and submit_assignment(), to see what Node.js itself takes
'use strict';
const { Pool } = require('pg');

const [kind, ...numbers] = process.argv.slice(2);
const [clients, warm, seconds, jobs] = numbers.map(Number);
const payload = { question: 12345, text: 'Which animal is in the picture?', labels: ['cat', 'dog', 'fox', 'owl'] };
const pool = new Pool({ max: clients + 2 });
const die = (e) => { console.error(e); process.exit(1); };
pool.on('error', die);
pool.on('connect', (client) => client.on('error', die));
const sleep = (s) => new Promise((resolve) => setTimeout(resolve, 1000 * s));
const number = async (sql, values) => Number((await pool.query(sql, values)).rows[0].n);

async function topUp(waiting, add) {
  for (let missing = jobs - waiting; missing > 0; missing -= 10000) await add(Math.min(missing, 10000));
}

// Loops until stop() is called; done() counts what work() says.
function loops(work) {
  let done = 0;
  let dry = false;
  let go = true;
  const one = async () => {
    while (go) {
      const n = await work();
      if (n === 0) { dry = true; await sleep(0.01); }
      done += n;
    }
  };
  const all = Promise.all(Array.from({ length: clients }, one));
  return { count: async () => [performance.now(), done], dry: async () => dry, stop: async () => { go = false; await all; return done; } };
}

async function graphile(preset) {
  const { run, runMigrations, Logger } = require('graphile-worker');
  const logger = new Logger(() => (level, message) => { if (level === 'error') console.error(message); });
  await runMigrations({ pgPool: pool, logger });
  const rows = () => number('select count(*) as n from graphile_worker._private_jobs');
  await topUp(await rows(), (n) => pool.query(`select count(*) from graphile_worker.add_jobs((select array_agg(
      row('bench', $1::json, null, null, null, null, null, null)::graphile_worker.job_spec) from generate_series(1, $2::int)))`, [payload, n]));
  await pool.query('vacuum analyze graphile_worker._private_jobs');
  const before = await rows();
  let run_ = 0;
  const runner = await run({ pgPool: pool, logger, concurrency: clients, noHandleSignals: true,
    taskList: { bench: async () => { run_++; } }, preset });
  // the end of a job's function is not that of its row: what counts are the rows that are gone
  return {
    count: async () => { const at = performance.now(); return [at, before - await rows()]; },
    dry: async () => await number('select count(*) as n from graphile_worker._private_jobs where locked_at is null') === 0,
    stop: async () => {
      await runner.stop();
      // which does not wait for the last rows
      let gone;
      for (let i = 0; i < 100 && (gone = before - await rows()) !== run_; i++) await sleep(0.1);
      if (gone !== run_) throw new Error(`${run_} jobs were run, ${gone} are gone`);
    },
  };
}

async function pgboss(size) {
  const PgBoss = require('pg-boss');
  const boss = new PgBoss({ host: process.env.PGHOST, port: Number(process.env.PGPORT), user: process.env.PGUSER,
    database: process.env.PGDATABASE, max: clients, supervise: false, schedule: false });
  boss.on('error', die);
  await boss.start();
  await boss.createQueue('bench');
  await topUp(await boss.getQueueSize('bench'), (n) => boss.insert(Array(n).fill({ name: 'bench', data: payload })));
  await pool.query('vacuum analyze pgboss.job');
  const completed = () => number("select count(*) as n from pgboss.job where state = 'completed'");
  const before = await completed();
  const l = loops(async () => {
    const got = await boss.fetch('bench', { batchSize: size });
    if (got.length > 0) await boss.complete('bench', got.map((j) => j.id));
    return got.length;
  });
  return { ...l, stop: async () => {
    const done = await l.stop();
    const now = await completed();
    if (now - before !== done) throw new Error(`${done} jobs were done, ${now - before} are completed`);
    // nor should what was done slow it down
    await pool.query("delete from pgboss.job where state = 'completed'");
    await boss.stop({ graceful: false });
  } };
}

function taskex() {
  return loops(async () => {
    const performer = String(1 + Math.floor(1000 * Math.random()));
    const got = await pool.query({ name: 'accept', text: 'select assignment_id from taskex.accept_next($1)', values: [performer] });
    if (got.rows.length === 0) return 0;
    await pool.query({ name: 'submit', text: 'select taskex.submit_assignment($1, $2, $3)',
      values: [performer, got.rows[0].assignment_id, { label: 'dog' }] });
    return 1;
  });
}

const kinds = {
  graphile: () => graphile({}),
  'graphile-local': () => graphile({ worker: { localQueue: { size: 500 }, completeJobBatchDelay: 0 } }),
  'pgboss-1': () => pgboss(1),
  'pgboss-100': () => pgboss(100),
  taskex,
};

(async () => {
  const worker = await kinds[kind]();
  await sleep(warm);
  const [t0, c0] = await worker.count();
  await sleep(seconds);
  const [t1, c1] = await worker.count();
  const dry = await worker.dry();
  await worker.stop();
  await pool.end();
  console.log(JSON.stringify({ jobs: c1 - c0, seconds: (t1 - t0) / 1000, dry }));
  process.exit(0);
})().catch(die);
