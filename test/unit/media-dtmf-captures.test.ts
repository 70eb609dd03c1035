/** Telephone events as two phones really send them, whole and damaged: the keys that were pressed, once each. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { AUDIO, PHONE, rtp, testChain } from './_media.ts';
import { seeded } from './_noises.ts';

type Row = readonly [ms: number, sequence: number, timestamp: number, marker: 0 | 1, hex: string];

const file = new URL('../data/dtmf-captures.json', import.meta.url);
const CAPTURES = JSON.parse(readFileSync(file, 'utf8')) as { baresip: Row[]; linphonec: Row[] };
const LENGTHS = { baresip: 180, linphonec: 100 };

/** What a call hears of the packets, each at its time. */
async function keysOf(rows: readonly Row[]): Promise<{ digit: string; durationMs: number }[]> {
  const call = testChain();
  call.chain.start(AUDIO);
  for (const [ms, sequence, timestamp, marker, hex] of rows) {
    call.clock.advance(Math.max(0, ms - call.clock.now()));
    const payload = Uint8Array.from(Buffer.from(hex, 'hex'));
    const packet = rtp({ sequence, timestamp, payload, payloadType: 101, marker: marker === 1 });
    call.transport.listener?.(packet, PHONE.address, PHONE.port);
  }
  call.clock.advance(1000);
  await call.chain.close();
  return call.events.flatMap((event) => (event.type === 'dtmf' ? [event] : []));
}

const digits = (keys: readonly { digit: string }[]): string =>
  keys.map(({ digit }) => digit).join('');
const isEnd = ([, , , , hex]: Row): boolean => (Number.parseInt(hex.slice(2, 4), 16) & 0x80) !== 0;

for (const name of ['baresip', 'linphonec'] as const) {
  const rows = CAPTURES[name];

  test(`${name}: as it came`, async () => {
    const keys = await keysOf(rows);
    assert.equal(digits(keys), '55#');
    assert.deepEqual(
      keys.map(({ durationMs }) => durationMs),
      Array.from({ length: 3 }, () => LENGTHS[name]),
    );
  });

  const damaged: [string, Row[]][] = [
    ['no marker bits', rows.map(([ms, seq, ts, , hex]) => [ms, seq, ts, 0, hex])],
    ['no end packets', rows.filter((row) => !isEnd(row))],
    ['no begin: the first two packets of each event lost', withoutFirst(rows, 2)],
    ['only one end packet of each event', withoutFirst(rows, 100)],
    ['every packet twice', rows.flatMap((row) => [row, row])],
    ['every other packet lost', rows.filter((_, i) => i % 2 === 0)],
  ];
  for (const [what, left] of damaged)
    test(`${name}: ${what}`, async () => assert.equal(digits(await keysOf(left)), '55#'));

  test(`${name}: any third of the packets lost, others out of order`, async () => {
    for (let seed = 1; seed <= 12; seed++) {
      const random = seeded(seed);
      const late = rows
        .filter(() => random() > 1 / 3)
        .map(([ms, ...rest]): Row => [ms + (random() < 0.2 ? 45 : 0), ...rest])
        .sort((a, b) => a[0] - b[0]);
      assert.equal(digits(await keysOf(late)), '55#', `seed ${seed}`);
    }
  });
}

/** Without the first `count` packets of each event, of which the last one always is left. */
function withoutFirst(rows: readonly Row[], count: number): Row[] {
  return rows.filter((row, i) => {
    const mine = rows.filter((other) => other[2] === row[2]);
    const isLast = rows.findLastIndex((other) => other[2] === row[2]) === i;
    return isLast || mine.indexOf(row) >= count;
  });
}
