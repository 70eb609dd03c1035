/** The journal: order, rotation, torn tails, cursors, and a disk that refuses. */
import assert from 'node:assert/strict';
import {
  appendFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import type { JournalEntry } from '#lib/call-events.ts';
import { SimulatedClock } from '#lib/clock.ts';
import { newId } from '#lib/ids.ts';
import { silentLog, type Log } from '#lib/log.ts';
import { Journal, type JournalOptions } from '#store/journal.ts';
import { decodeLines, encodeLine, soundEnd } from '#store/journal-lines.ts';
import { scriptCall, type CallScript } from './_store-entries.ts';

function folder(t: TestContext): string {
  const directory = mkdtempSync(path.join(tmpdir(), 'callyard-journal-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

async function opened(
  t: TestContext,
  directory: string,
  options: Partial<JournalOptions> = {},
): Promise<Journal> {
  const clock = new SimulatedClock();
  const journal = await Journal.open({ directory, log: silentLog, clock, ...options });
  t.after(() => journal.close());
  return journal;
}

async function contents(journal: Journal): Promise<JournalEntry[]> {
  const entries: JournalEntry[] = [];
  for await (const entry of journal.readAll()) entries.push(entry);
  return entries;
}

const newCall = (): CallScript => scriptCall(newId(), newId());
const filesIn = (directory: string): string[] =>
  readdirSync(directory)
    .filter((name) => name.endsWith('.jsonl'))
    .sort();

test('entries come back in order, also after a restart and over several files', async (t) => {
  const directory = folder(t);
  const call = newCall();
  const written = [call.initiated(), call.answered()];
  for (let n = 0; n < 40; n++) written.push(call.says('user', `你好 ${n} \u2028 "quoted"\n`));
  const journal = await opened(t, directory, { maxFileBytes: 2_000 });
  for (const entry of written) journal.append(entry);
  assert.deepEqual(await contents(journal), written);
  assert.ok(filesIn(directory).length > 3);
  await journal.close();
  const again = await opened(t, directory, { maxFileBytes: 2_000 });
  assert.deepEqual(await contents(again), written);
  const more = call.ended();
  again.append(more);
  assert.deepEqual(await contents(again), [...written, more]);
});

test('a torn tail is cut, wherever it was torn', async (t) => {
  const call = newCall();
  const whole = [call.initiated(), call.answered(), call.says('user', 'hello')];
  const torn = encodeLine(call.says('assistant', 'never finished 完'));
  for (let cut = 0; cut < torn.length; cut += 7) {
    const directory = folder(t);
    const file = path.join(directory, '0000000001.jsonl');
    writeFileSync(file, Buffer.concat([...whole.map(encodeLine), torn.subarray(0, cut)]));
    const journal = await opened(t, directory);
    const next = call.ended();
    journal.append(next);
    assert.deepEqual(await contents(journal), [...whole, next], `cut at ${cut}`);
    await journal.close();
  }
});

test('a damaged line in the middle is skipped, not the rest behind it', async (t) => {
  const directory = folder(t);
  const call = newCall();
  const lines = [call.initiated(), call.answered(), call.ended()];
  const bytes = Buffer.concat(lines.map(encodeLine));
  const at = encodeLine(lines[0] as JournalEntry).length + 30;
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  writeFileSync(path.join(directory, '0000000001.jsonl'), bytes);
  const events: string[] = [];
  const log: Log = { ...silentLog, error: (event) => events.push(event) };
  const journal = await opened(t, directory, { log });
  assert.deepEqual(await contents(journal), [lines[0], lines[2]]);
  assert.deepEqual(events, ['journal.damaged']);
});

test('random bytes never break the reader', () => {
  let seed = 20_261_121;
  const random = (): number => (seed = (seed * 48_271) % 2_147_483_647);
  const good = Buffer.concat([newCall().initiated(), newCall().ended()].map(encodeLine));
  for (let round = 0; round < 2_000; round++) {
    const bytes = Buffer.from(good);
    for (let n = 0; n < 3; n++) bytes[random() % bytes.length] = random() % 256;
    const lines = decodeLines(bytes.subarray(0, random() % bytes.length));
    assert.ok(soundEnd(lines) <= bytes.length);
  }
});

test('a cursor keeps its place over restarts and counts what is left', async (t) => {
  const directory = folder(t);
  const call = newCall();
  const first = await opened(t, directory);
  const before = await first.cursor('reader');
  for (let n = 0; n < 10; n++) first.append(call.says('user', String(n)));
  assert.equal(before.pending, 10);
  const batch = await before.read(4);
  assert.equal(batch.entries.length, 4);
  assert.deepEqual((await before.read(4)).entries, batch.entries, 'reading alone moves nothing');
  before.commit(batch);
  await first.close();
  const second = await opened(t, directory);
  const cursor = await second.cursor('reader');
  assert.equal(cursor.pending, 6);
  assert.equal((await cursor.read(100)).entries.length, 6);
  assert.equal((await second.cursor('another')).pending, 10);
  const ahead = path.join(directory, 'reader.cursor');
  writeFileSync(ahead, JSON.stringify({ file: 9, offset: 12_345 }));
  await second.close();
  const third = await (await opened(t, directory)).cursor('reader');
  assert.equal(third.pending, 0, 'a cursor ahead of the journal stands at its end');
});

test('who is far behind and who keeps up read the same', async (t) => {
  const directory = folder(t);
  const journal = await opened(t, directory, { maxFileBytes: 100_000 });
  const call = newCall();
  const written: JournalEntry[] = [];
  const [near, far] = [await journal.cursor('near'), await journal.cursor('far')];
  const read: JournalEntry[] = [];
  for (let n = 0; n < 1_300; n++) {
    const entry = call.says('user', `sentence 第 ${n} 句`);
    written.push(entry);
    journal.append(entry);
    if (n % 7 !== 0) continue;
    const batch = await near.read(200);
    read.push(...batch.entries);
    near.commit(batch);
  }
  assert.ok(filesIn(directory).length > 2);
  while (near.pending > 0) {
    const batch = await near.read(200);
    read.push(...batch.entries);
    near.commit(batch);
  }
  assert.deepEqual(read, written);
  assert.deepEqual((await far.read(5)).entries, written.slice(0, 5));
  assert.deepEqual(await contents(journal), written);
});

test('a cursor is written to the disk once a second, and at the end', async (t) => {
  const directory = folder(t);
  const clock = new SimulatedClock();
  const journal = await opened(t, directory, { clock });
  const cursor = await journal.cursor('reader');
  const saved = (): unknown =>
    JSON.parse(readFileSync(path.join(directory, 'reader.cursor'), 'utf8'));
  const next = async (): Promise<unknown> => {
    journal.append(newCall().initiated());
    cursor.commit(await cursor.read(10));
    return cursor.position;
  };
  const first = await next();
  assert.deepEqual(saved(), first);
  const second = await next();
  const third = await next();
  assert.deepEqual(saved(), first);
  clock.advance(999);
  assert.deepEqual(saved(), first);
  clock.advance(1);
  assert.deepEqual(saved(), third);
  assert.notDeepEqual(third, second);
  const last = await next();
  assert.deepEqual(saved(), third);
  await journal.close();
  assert.deepEqual(saved(), last);
});

test('a file goes when every cursor has passed it and no live call began in it', async (t) => {
  const directory = folder(t);
  const journal = await opened(t, directory, { maxFileBytes: 1_500 });
  const [fast, slow] = [await journal.cursor('fast'), await journal.cursor('slow')];
  const readAll = async (cursor: typeof fast): Promise<void> => {
    while (cursor.pending > 0) cursor.commit(await cursor.read(5));
  };
  const talk = (call: CallScript): void => {
    for (let n = 0; n < 20; n++) journal.append(call.says('user', `sentence number ${n}`));
  };
  const long = newCall();
  journal.append(long.initiated());
  talk(long);
  const all = filesIn(directory);
  assert.ok(all.length > 3);
  await readAll(fast);
  await readAll(slow);
  assert.deepEqual(filesIn(directory), all, 'the call is live');
  journal.append(long.ended());
  talk(long);
  await readAll(fast);
  assert.ok(filesIn(directory).includes(all.at(-1) ?? ''), 'slow still stands there');
  await readAll(slow);
  await journal.close();
  assert.equal(filesIn(directory).length, 1);
});

test('turned over, it keeps nothing that was read, and everything that was not', async (t) => {
  const directory = folder(t);
  const journal = await opened(t, directory);
  const cursor = await journal.cursor('a');
  const over = newCall();
  const done = [over.initiated(), over.answered(), over.ended()];
  for (const entry of done) journal.append(entry);
  journal.turnOver();
  assert.deepEqual(await contents(journal), done, 'not read yet: it stays');
  cursor.commit(await cursor.read(10));
  journal.turnOver();
  assert.deepEqual(await contents(journal), []);
  const live = newCall();
  const begun = [live.initiated(), live.answered()];
  for (const entry of begun) journal.append(entry);
  cursor.commit(await cursor.read(10));
  journal.turnOver();
  journal.turnOver();
  assert.deepEqual(await contents(journal), begun, 'a live call needs its entries');
  const end = live.ended();
  journal.append(end);
  assert.deepEqual((await cursor.read(10)).entries, [end]);
  cursor.commit(await cursor.read(10));
  journal.turnOver();
  await journal.close();
  assert.equal(filesIn(directory).length, 1);
  const again = await opened(t, directory);
  const resumed = await again.cursor('a');
  assert.equal(resumed.pending, 0);
  const next = newCall().initiated();
  again.append(next);
  assert.deepEqual((await resumed.read(10)).entries, [next]);
});

test('while the disk refuses, entries wait in memory, in order, and nothing is half-written', async (t) => {
  const directory = folder(t);
  const clock = new SimulatedClock();
  const errors: string[] = [];
  let isFull = false;
  const journal = await opened(t, directory, {
    clock,
    maxQueued: 5,
    log: { ...silentLog, error: (event) => errors.push(event) },
    write: (fd, bytes, offset, length) => {
      if (!isFull) return writeSync(fd, bytes, offset, length);
      if (offset === 0) return writeSync(fd, bytes, 0, Math.min(10, length));
      throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
    },
  });
  const call = newCall();
  const first = call.initiated();
  journal.append(first);
  isFull = true;
  const waiting = [1, 2, 3, 4, 5].map((n) => call.says('user', String(n)));
  for (const entry of waiting) journal.append(entry);
  journal.append(call.says('user', 'one too many'));
  assert.equal(journal.isHealthy, false);
  assert.deepEqual(journal.backlog, { queued: 5, dropped: 1 });
  assert.deepEqual(errors, ['journal.failed', 'journal.dropped']);
  assert.deepEqual(await contents(journal), [first]);
  clock.advance(10_000);
  assert.deepEqual(errors, ['journal.failed', 'journal.dropped'], 'one report per outage');
  isFull = false;
  clock.advance(5_000);
  assert.equal(journal.isHealthy, true);
  const last = call.ended();
  journal.append(last);
  assert.deepEqual(await contents(journal), [first, ...waiting, last]);
  const file = readFileSync(path.join(directory, '0000000001.jsonl'));
  assert.ok(decodeLines(file).every(({ entry }) => entry !== null));
});

test('lines of another writer behind a closed journal do not disturb it', async (t) => {
  const directory = folder(t);
  const journal = await opened(t, directory);
  const call = newCall();
  journal.append(call.initiated());
  await journal.close();
  journal.append(call.answered());
  appendFileSync(path.join(directory, 'notes.txt'), 'not a journal file');
  assert.equal((await contents(await opened(t, directory))).length, 1);
});
