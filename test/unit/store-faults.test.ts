/** One bad entry, a failing disk, a number that is taken, guessed keys: none of them may hold up the rest. */
import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import type { JournalEntry } from '#lib/call-events.ts';
import { SimulatedClock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import { newId } from '#lib/ids.ts';
import { silentLog } from '#lib/log.ts';
import { createApiKeys } from '#store/api-keys.ts';
import { takenKeys, withFreeSeq } from '#store/event-seq.ts';
import { Journal } from '#store/journal.ts';
import { JournalWriter } from '#store/journal-writer.ts';
import type { Database, Sql } from '#store/pool.ts';
import { Projection } from '#store/projection.ts';
import { applyEntries } from '#store/projection-sql.ts';
import { scriptCall, type CallScript } from './_store-entries.ts';

const newCall = (): CallScript => scriptCall(newId(), newId());

function folder(t: TestContext): string {
  const directory = mkdtempSync(path.join(tmpdir(), 'callyard-faults-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

function databaseOf(sql: Sql): Database {
  const work = <T>(use: (sql: Sql) => Promise<T>): Promise<T> => use(sql);
  return {
    withAccount: (_account, _actor, use) => work(use),
    accountRows: (_account, _actor, text, values) => sql.rows(text, values),
    withSystem: work,
    ping: async () => undefined,
    close: async () => undefined,
  };
}

test('a SIP Call-ID is cut to 512 bytes, never inside a character', async () => {
  const rows: [string, string][] = [
    ['a'.repeat(512), 'a'.repeat(512)],
    ['a'.repeat(2_000), 'a'.repeat(512)],
    ['名'.repeat(2_000), '名'.repeat(170)],
    [`a${'📞'.repeat(2_000)}`, `a${'📞'.repeat(127)}`],
  ];
  for (const [given, expected] of rows) {
    const seen: unknown[] = [];
    const sql: Sql = {
      rows: async () => [],
      run: async (text, values = []) => {
        if (text.includes('INTO call_records')) seen.push(...values);
        return 1;
      },
    };
    await applyEntries(sql, [newCall().initiated({ sip_call_id: given })]);
    assert.ok(seen.includes(expected), `${Buffer.byteLength(given)} bytes`);
  }
});

/** Runs the projection until it has done everything or has had its turns; how often the bad entry was tried alone. */
async function projected(
  t: TestContext,
  sqlState: string,
): Promise<{ tries: number; parked: number; pending: number; states: (string | null)[] }> {
  const [bad, good] = [newCall(), newCall()];
  let waiting: readonly JournalEntry[] = [bad.initiated(), good.initiated()];
  let tries = 0;
  const sql: Sql = {
    rows: async () => [],
    run: async (text, values = []) => {
      if (!values.includes(bad.id) || !text.includes('INTO call_records')) return 1;
      tries++;
      throw new AppError('E_DATABASE', 'refused', { cause: { code: sqlState } });
    },
  };
  const clock = new SimulatedClock();
  const deadLetterFile = path.join(folder(t), 'dead-letter.jsonl');
  const projection = new Projection({
    ...{ clock, deadLetterFile, database: databaseOf(sql), log: silentLog },
    source: {
      get pending() {
        return waiting.length;
      },
      read: async () => ({ entries: waiting, next: { file: 1, offset: 0 } }),
      commit: (batch) => {
        waiting = waiting.slice(batch.entries.length);
      },
    },
  });
  projection.wake();
  for (let turn = 0; turn < 300 && waiting.length > 0; turn++) {
    clock.advance(2_000);
    await setImmediate();
  }
  await projection.stop();
  const { parked } = projection;
  const lines = parked === 0 ? [] : readFileSync(deadLetterFile, 'utf8').trim().split('\n');
  const states = lines.map((line) => (JSON.parse(line) as { sqlState: string | null }).sqlState);
  return { tries, parked, pending: waiting.length, states };
}

test('one entry that the database cannot take does not stop the ones behind it', async (t) => {
  // Together and alone: once when the data are refused, five times when it is not certain.
  for (const [sqlState, tries] of [
    ['54000', 2],
    ['22P02', 2],
    ['XX000', 10],
    ['0A000', 10],
  ] as const) {
    const done = await projected(t, sqlState);
    assert.deepEqual(done, { tries, parked: 1, pending: 0, states: [sqlState] }, sqlState);
  }
});

test('nothing is parked for what every entry would meet', async (t) => {
  for (const sqlState of ['40001', '40P01', '55P03', '57014', '57P01', '53300', '28P01', '42P01']) {
    const { parked, pending } = await projected(t, sqlState);
    assert.deepEqual([parked, pending], [0, 2], sqlState);
  }
});

test('a journal that closes on a failing disk leaves no timer behind', async (t) => {
  const clock = new SimulatedClock();
  let isFull = true;
  let late = 0;
  const journal = await Journal.open({
    directory: folder(t),
    ...{ clock, log: silentLog },
    write: (fd, bytes, offset, length) => {
      if (isFull) throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
      late++;
      return writeSync(fd, bytes, offset, length);
    },
  });
  journal.append(newCall().initiated());
  await journal.close();
  isFull = false;
  clock.advance(60_000);
  assert.equal(late, 0, 'nothing is written once it is closed');
  assert.deepEqual(journal.backlog, { queued: 1, dropped: 0 });
});

test('a writer whose last sync fails is closed all the same', (t) => {
  const clock = new SimulatedClock();
  const directory = folder(t);
  let file = -1;
  const writer = new JournalWriter(
    {
      pathOf: (number) => path.join(directory, String(number)),
      ...{ clock, log: silentLog, maxFileBytes: 1_000 },
      write: (fd, bytes, offset, length) => writeSync((file = fd), bytes, offset, length),
    },
    1,
    0,
  );
  writer.append(Buffer.from('line\n'));
  closeSync(file);
  assert.throws(() => writer.close(), { code: 'EBADF' });
  writer.close();
  assert.throws(() => writer.append(Buffer.from('more\n')), { code: 'E_JOURNAL' });
  clock.advance(1_000);
});

test('events whose number is taken get the next free ones of their call, in their order', async () => {
  type Row = [string, number[], boolean, number, (number | null)[]];
  const rows: Row[] = [
    ['nothing taken', [], false, 0, [3, 4, 5]],
    ['the database is one ahead', [3], false, 3, [4, 5, 6]],
    ['and more than that', [3, 4, 5], false, 6, [7, 8, 9]],
    ['it has heard of the end', [3], true, 3, [4, null, 5]],
    ['a later one is taken', [4], false, 4, [3, 5, 6]],
  ];
  for (const [name, taken, isOver, last, expected] of rows) {
    const [call, other] = [newCall(), newCall()];
    const [, , ...entries] = [
      ...[call.initiated(), call.answered(), call.says('user', 'a'), call.ended()],
      call.says('assistant', 'b'),
    ];
    const sql: Sql = {
      rows: async (text) =>
        (text.includes('unnest')
          ? taken.map((seq) => ({ call_id: call.id, seq }))
          : [{ call_id: call.id, last, is_over: isOver }]) as never,
      run: async () => assert.fail('nothing is written here'),
    };
    const mixed = [other.initiated(), ...entries];
    const found = await withFreeSeq(sql, mixed, await takenKeys(sql, mixed));
    const seqs = mixed.map(({ event }) => found.find((f) => f.event.id === event.id)?.event.seq);
    assert.deepEqual(
      seqs.map((seq) => seq ?? null),
      [1, ...expected],
      name,
    );
  }
});

test('guessed API keys push no real key out of the memory that bridges an outage', async () => {
  const keyId = newId();
  let isAway = false;
  const sql: Sql = {
    rows: async (_text, values = []) => {
      if (isAway) throw new AppError('E_DATABASE_UNREACHABLE', 'away');
      return (values[0] === 'realreal' ? [{ id: keyId, key_hash: Buffer.alloc(32) }] : []) as never;
    },
    run: async () => 1,
  };
  const keys = createApiKeys(databaseOf(sql), silentLog, new SimulatedClock());
  assert.equal((await keys.findKey('realreal'))?.keyId, keyId);
  for (let n = 0; n < 1_500; n++) {
    assert.equal(await keys.findKey(`guess${String(n).padStart(3, '0')}`), null);
  }
  isAway = true;
  assert.equal((await keys.findKey('realreal'))?.keyId, keyId);
  await assert.rejects(keys.findKey('guess001'), { code: 'E_DATABASE_UNREACHABLE' });
});
