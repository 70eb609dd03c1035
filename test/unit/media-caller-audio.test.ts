/** The caller's audio in a whole call: wire time through stalls and bursts, what is told of the buffer, bridged holes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { G711 } from '#lib/g711.ts';
import type { MediaEvent } from '#media/types.ts';
import { AUDIO, PHONE, rtp, testChain, type TestChain } from './_media.ts';

const FRAME = 160;
const codes = (value: number): Uint8Array =>
  new Uint8Array(FRAME).fill(G711.PCMU.encode[value & 0xffff] ?? 0);
const SILENCE = codes(0);
const QUIET = codes(900);
const LOUD = codes(8000);

function send(call: TestChain, i: number, payload: Uint8Array): void {
  const bytes = rtp({ sequence: i, timestamp: i * FRAME, payload });
  call.transport.listener?.(bytes, PHONE.address, PHONE.port);
}

/** Packets on their way: each is sent every 20 ms and arrives when the line lets it. */
async function playLine(
  call: TestChain,
  frames: number,
  arrivalMs: (i: number) => number,
  payload: (i: number) => Uint8Array,
): Promise<void> {
  const due = Array.from({ length: frames }, (_, i) => ({ i, atMs: arrivalMs(i) }));
  due.sort((a, b) => a.atMs - b.atMs || a.i - b.i);
  let nowMs = 0;
  for (const { i, atMs } of due) {
    if (atMs > nowMs) call.clock.advance(atMs - nowMs);
    nowMs = Math.max(nowMs, atMs);
    send(call, i, payload(i));
    call.callerRing.skipTo(call.callerRing.written);
    if (i % 25 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  call.clock.advance(20);
}

test('thirty seconds of stalls and bursts in a call: before, between and after, the recording is on wire time', async () => {
  let state = 77;
  const random = (): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
    return (state >>> 8) / 0x80_0000;
  };
  // Between 5 and 35 s the line stands still for 0.1 to 1.2 s again and again, and then gives out all at once.
  const arrivals: number[] = [];
  let until = 5000;
  let begins = 5000;
  for (let i = 0; i < 2500; i++) {
    const sent = i * 20;
    while (sent > until && sent < 35_000) {
      begins = sent + 100 + 600 * random();
      until = begins + 100 + 1100 * random();
    }
    arrivals.push(sent >= begins && sent < until && begins < 35_000 ? until : sent);
  }
  const marks = [100, 1900, 2400];
  const call = testChain({ isSpeech: () => false });
  call.chain.start(AUDIO);
  await playLine(
    call,
    2500,
    (i) => arrivals[i] ?? 0,
    (i) => (marks.includes(i) ? LOUD : QUIET),
  );
  const { recording, stats } = await call.chain.close();
  assert.ok(Math.abs((recording?.durationMs ?? 0) - 50_000) <= 20, `${recording?.durationMs}`);
  const caller = call.disk.channel(0);
  for (const mark of marks) {
    const near = caller.subarray(mark * FRAME - 4000, mark * FRAME + 4000);
    const at = near.findIndex((x) => x > 6000) - 4000;
    assert.ok(Math.abs(at) <= FRAME, `mark ${mark}: ${at / 8} ms off`);
  }
  assert.equal(stats.lost, 0);
  assert.ok((stats.jitterBuffer?.maxDelayMs ?? 0) >= 300, 'what was held up was waited for');
});

test('a quiet line has a small buffer, and it is told', async () => {
  const call = testChain({ isSpeech: () => false });
  call.chain.start(AUDIO);
  await playLine(
    call,
    500,
    (i) => i * 20 + 3,
    () => QUIET,
  );
  const { stats } = await call.chain.close();
  const report = stats.jitterBuffer;
  assert.ok(report);
  assert.ok(report.meanDelayMs <= 20 && report.maxDelayMs <= 40, JSON.stringify(report));
  assert.ok(report.targetMs <= 45);
  assert.equal(report.reordered, 0);
  assert.equal(report.acceleratedMs + report.expandedMs, 0, 'nothing was stretched');
  assert.equal(stats.concealedMs, 0);
});

test('lost, late, doubled and overtaken packets are counted for what they are', async () => {
  const call = testChain({ isSpeech: () => false });
  call.chain.start(AUDIO);
  const arrival = (i: number): number => i * 20 + (i === 300 ? 15 : i === 400 ? 700 : 0);
  for (let tick = 0; tick < 500; tick++) {
    for (let i = tick; i >= Math.max(0, tick - 40); i--) {
      const dueTick = Math.ceil(arrival(i) / 20);
      if (dueTick !== tick || i === 200) continue;
      send(call, i, QUIET);
      if (i === 250) send(call, i, QUIET);
    }
    call.clock.advance(20);
  }
  const { stats } = await call.chain.close();
  assert.equal(stats.lost, 1);
  assert.equal(stats.duplicated, 1);
  assert.equal(stats.late, 1);
  assert.equal(stats.jitterBuffer?.reordered, 2);
  assert.ok(stats.concealedMs >= 40 && stats.concealedMs <= 60, `${stats.concealedMs}`);
});

test('what the buffer kept the last words back is told with the end of speech', async () => {
  for (const heldMs of [0, 90]) {
    const call = testChain();
    call.chain.start(AUDIO);
    // The packet before the last one with speech comes late: the last one has to wait for it.
    const before = 149;
    await playLine(
      call,
      220,
      (i) => i * 20 + (i === before || i % 25 === 3 ? heldMs : 0),
      (i) => (i >= 100 && i <= before + 1 ? LOUD : SILENCE),
    );
    const stopped = call.events.filter(
      (event): event is Extract<MediaEvent, { type: 'speech.stopped' }> =>
        event.type === 'speech.stopped',
    );
    assert.equal(stopped.length, 1);
    const { jitterMs = -1 } = stopped[0] ?? {};
    const least = Math.max(0, heldMs - 40);
    assert.ok(jitterMs >= least && jitterMs <= heldMs + 20, `${heldMs} ms: ${jitterMs}`);
    await call.chain.close();
  }
});
