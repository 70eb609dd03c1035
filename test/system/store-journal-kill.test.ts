/** kill -9 at random moments: every entry whose append returned is there afterwards, exactly once. */
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { mkdtempSync, openSync, readFileSync, rmSync, closeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { silentLog } from '#lib/log.ts';
import { isCallEntry } from '#lib/call-events.ts';
import { Journal } from '#store/journal.ts';

const WRITER = fileURLToPath(new URL('_journal-writer.ts', import.meta.url));
const KILLS = Number(process.env['TEST_KILLS'] ?? 10);

/** Appends until it is killed after `afterMs`; returns the sequence numbers it had reported as written. */
async function writeAndKill(
  directory: string,
  reportFile: string,
  afterMs: number,
): Promise<number> {
  const report = openSync(reportFile, 'w');
  const child = fork(WRITER, [directory], { stdio: ['ignore', report, 'inherit', 'ipc'] });
  closeSync(report);
  const gone = new Promise((resolve) => child.once('exit', resolve));
  await new Promise((resolve) => child.once('message', resolve));
  setTimeout(() => child.kill('SIGKILL'), afterMs);
  await gone;
  const lines = readFileSync(reportFile, 'utf8').split('\n').slice(0, -1);
  return Number(lines.at(-1) ?? 0);
}

test('what was acknowledged survives, once and in order', async (t) => {
  const directory = mkdtempSync(path.join(tmpdir(), 'callyard-kill-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  let seed = 7;
  for (let round = 0; round < KILLS; round++) {
    seed = (seed * 48_271) % 2_147_483_647;
    const acknowledged = await writeAndKill(directory, path.join(directory, 'report'), seed % 60);
    const journal = await Journal.open({ directory, log: silentLog });
    const seen: number[] = [];
    const calls = new Map<string, number[]>();
    for await (const entry of journal.readAll()) {
      assert.ok(isCallEntry(entry));
      const { event } = entry;
      const list = calls.get(event.call_id) ?? [];
      list.push(event.seq);
      calls.set(event.call_id, list);
      seen.push(event.seq);
    }
    await journal.close();
    const last = [...calls.values()].at(-1) ?? [];
    assert.ok(acknowledged > 0, `round ${round}: nothing was written`);
    assert.ok(last.length >= acknowledged, `round ${round}: ${last.length} of ${acknowledged}`);
    assert.ok(last.length <= acknowledged + 1, `round ${round}: at most the one under way is more`);
    for (const [id, list] of calls) {
      assert.deepEqual(
        list,
        Array.from({ length: list.length }, (_, n) => n + 1),
        `call ${id}, round ${round}`,
      );
    }
    assert.equal(calls.size, round + 1);
  }
});
