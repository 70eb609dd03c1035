/** Packets that the system does not take at once, in a process where it never does. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const SCRIPT = fileURLToPath(new URL('_queued-sends.ts', import.meta.url));
const FLAGS = ['--conditions=development', '--test-udp-no-try-send'];

test('what waits to be sent is not written over by another call', async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [...FLAGS, SCRIPT], {
    timeout: 10_000,
  });
  const numbers = Array.from({ length: 20 }, (_, i) => i);
  const heard = (call: number): number[][] => numbers.map((number) => [number, call]);
  assert.deepEqual(JSON.parse(stdout), [heard(1), heard(2)]);
});
