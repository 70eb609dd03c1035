/** An hour of call on a simulated clock: the recording keeps to the RTP clock. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { G711 } from '#lib/g711.ts';
import { AUDIO, MemoryDisk, PHONE, rtp, testChain } from '../unit/_media.ts';

const codes = (value: number): Uint8Array =>
  new Uint8Array(160).fill(G711.PCMU.encode[value & 0xffff] ?? 0);
const SILENCE = codes(0);
const LOUD = codes(8000);

test('one hour is recorded within 20 ms of wire time on both sides', async () => {
  // Whole chunks of the recorder, a little before the last two seconds.
  const keptFrom = 7000 * 4096;
  const disk = new MemoryDisk(undefined, 44 + keptFrom * 4);
  const call = testChain({ disk, isSpeech: () => false });
  call.transport.keep = false;
  call.chain.start(AUDIO);
  let sequence = 0;
  const play = (frames: number, payload: Uint8Array): void => {
    for (let i = 0; i < frames; i++) {
      const bytes = rtp({ sequence, timestamp: sequence * 160, payload });
      call.transport.listener?.(bytes, PHONE.address, PHONE.port);
      sequence++;
      call.clock.advance(20);
    }
  };
  for (let second = 0; second < 3600; second++) {
    play(49, SILENCE);
    play(1, second === 3599 ? LOUD : SILENCE);
    call.callerRing.skipTo(call.callerRing.written);
    if (second === 3598) {
      call.writer.begin(1);
      await call.writer.write(1, new Int16Array(160).fill(6000));
      call.writer.end(1);
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  const { recording, stats } = await call.chain.close();
  assert.ok(recording);
  assert.equal(recording.truncated, false);
  assert.ok(Math.abs(recording.durationMs - 3_600_000) <= 20, `${recording.durationMs}`);
  const timeOf = (channel: 0 | 1): number =>
    (keptFrom + disk.channel(channel).findIndex((x) => x > 4000)) / 8;
  assert.ok(Math.abs(timeOf(0) - 3_599_980) <= 20, `caller ${timeOf(0)}`);
  assert.ok(Math.abs(timeOf(1) - 3_599_000) <= 20, `agent ${timeOf(1)}`);
  assert.equal(stats.concealedMs, 0);
});
