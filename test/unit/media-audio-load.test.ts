/** Sound files on their way into calls: how many at a time, for whom, and how much of them is kept (contract 2.7). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import { createAudioFiles } from '#media/mix/audio-file.ts';
import { FairGate } from '#media/mix/audio-file-gate.ts';
import { settle } from './_fakes.ts';

function wavOf(samples: number): Uint8Array<ArrayBuffer> {
  const wav = Buffer.alloc(44 + samples * 2, 1);
  wav.write('RIFF\0\0\0\0WAVEfmt ', 'latin1');
  wav.writeUInt32LE(16, 16);
  for (const [value, at] of [
    [1, 20],
    [1, 22],
    [2, 32],
    [16, 34],
  ] as const)
    wav.writeUInt16LE(value, at);
  wav.writeUInt32LE(8000, 24);
  wav.writeUInt32LE(16_000, 28);
  wav.write('data', 36);
  wav.writeUInt32LE(samples * 2, 40);
  return new Uint8Array(wav);
}

test('the gate: half for one owner, the longest waiting first, and nobody waits for ever', async () => {
  const clock = new SimulatedClock();
  const gate = new FairGate({ atOnce: 4, waiting: 4, waitMs: 1000, clock });
  const log: string[] = [];
  const enter = (owner: string): void =>
    void gate.enter(owner).then((isIn) => log.push(`${owner} ${isIn ? 'in' : 'out'}`));
  const told = async (): Promise<string[]> => {
    await settle();
    return log.splice(0);
  };
  for (const owner of ['a', 'a', 'a', 'a', 'a']) enter(owner);
  assert.deepEqual(await told(), ['a in', 'a in', 'a out'], 'two at once, two wait');
  for (const owner of ['b', 'b', 'b', 'c', 'd']) enter(owner);
  assert.deepEqual(await told(), ['b in', 'b in', 'd out'], 'four wait: a, a, b, c');
  gate.leave('b');
  assert.deepEqual(await told(), ['b in'], 'a has its half');
  gate.leave('a');
  assert.deepEqual(await told(), ['a in'], 'it waited longest');
  gate.leave('b');
  assert.deepEqual(await told(), ['c in']);
  clock.advance(1000);
  assert.deepEqual(await told(), ['a out']);
  for (const owner of ['a', 'a', 'b', 'c']) gate.leave(owner);
  enter('d');
  assert.deepEqual(await told(), ['d in']);
  assert.equal(clock.pending, 0);
});

test('what calls still need counts, for its owner and for all, until it is given back', async () => {
  const files = createAudioFiles({ maxHeldBytes: 3000, maxOwnerBytes: 2000 });
  let fetched = 0;
  const load = (owner: string) =>
    files.load(owner, async () => {
      fetched++;
      return wavOf(1000);
    });
  const first = await load('a');
  assert.ok(first.ok && first.pcm.length === 1000);
  const busy = { ok: false, fault: 'busy', found: null };
  assert.deepEqual(await load('a'), busy, 'its part is used up');
  const second = await load('b');
  assert.ok(second.ok);
  assert.deepEqual(await load('c'), busy, 'there is no room at all');
  assert.equal(fetched, 2, 'nothing is fetched in vain');
  first.release();
  first.release();
  const third = await load('a');
  assert.ok(third.ok);
  third.release();
  second.release();
});

test('a fetch that fails gives its place back; a damaged file is no fault of ours', async () => {
  const files = createAudioFiles();
  for (let i = 0; i < 9; i++) {
    const failed = files.load('a', () => Promise.reject(new Error('gone')));
    await assert.rejects(failed, /gone/);
  }
  const junk = new Uint8Array(
    Buffer.from('ID3\u0004\0\0\0\0\0\u000a' + 'x'.repeat(70_000), 'latin1'),
  );
  assert.deepEqual(await files.load('a', async () => junk), {
    ...{ ok: false, fault: 'format', found: null },
  });
  const [one, two, three] = await Promise.all(
    [1, 2, 3].map((samples) => files.load('a', async () => wavOf(samples * 800))),
  );
  assert.deepEqual(
    [one, two, three].map((sound) => sound?.ok === true && sound.pcm.length),
    [800, 1600, 2400],
  );
});
