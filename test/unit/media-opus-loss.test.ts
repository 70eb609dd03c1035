/** Loss that the far end reports of our Opus stream: the redundancy follows it, by steps and within limits. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ExpectedLoss } from '#media/codec/expected-loss.ts';
import { createOpusDecoder } from '#media/codec/opus-codec.ts';
import { hasOpusFec } from '#media/codec/opus-packet.ts';
import { AUDIO, PHONE, testChain, type SentPacket } from './_media.ts';
import { recorded } from './_noises.ts';

const VOICE = recorded('about-en').subarray(0, 6400 * 8);

test('expected loss: believed at once, forgotten slowly, never nothing and never more than helps', () => {
  const rows: readonly (readonly [what: string, reports: readonly number[], percent: number])[] = [
    ['nothing is known', [], 10],
    ['a little less than thought', [9, 11, 9, 10], 10],
    ['a bad line', [18], 18],
    ['a line that loses all', [100], 25],
    ['one report without loss', [0], 8],
    ['half a minute without loss', [0, 0, 0, 0, 0, 0], 3],
    ['a minute without loss', Array.from({ length: 12 }, () => 0), 3],
    ['a bad line that became good', [20, ...Array.from({ length: 12 }, () => 0)], 3],
    ['bursts', [20, 0, 0, 20, 0, 0, 20], 20],
  ];
  for (const [what, reports, percent] of rows) {
    const loss = new ExpectedLoss();
    for (const each of reports) loss.report(each);
    assert.ok(Math.abs(loss.percent - percent) <= 2, `${what}: ${loss.percent} %`);
  }
});

test('expected loss: a line that trembles changes nothing', () => {
  const loss = new ExpectedLoss();
  let changes = 0;
  for (let i = 0; i < 100; i++) if (loss.report(9 + (i % 3))) changes++;
  assert.equal(changes, 0);
});

/** A receiver report on our stream (RFC 3550 6.4.2). */
function report(ssrc: number, lossPct: number, highest: number): Uint8Array {
  const bytes = new Uint8Array(32);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0x81c9_0007);
  view.setUint32(4, 7);
  view.setUint32(8, ssrc);
  view.setUint32(12, Math.round((lossPct * 256) / 100) << 24);
  view.setUint32(16, highest);
  return bytes;
}

/** The agent's voice as it is sent while the far end reports so much loss. */
async function sentWith(lossPct: number, useInbandFec: boolean): Promise<readonly SentPacket[]> {
  const call = testChain();
  const opus = { useInbandFec, useDtx: false, maxAverageBitrate: null };
  const audio = { ...AUDIO, codec: 'opus', payloadType: 111, receivePayloadType: 111 } as const;
  await call.chain.prepare({ ...audio, opus });
  call.chain.start({ ...audio, opus });
  call.clock.advance(100);
  const { sent, rtcpListener } = call.transport;
  for (let i = 0; i < 12; i++) {
    const last = sent.at(-1);
    assert.ok(last);
    const bytes = report(last.ssrc, lossPct, last.sequence);
    rtcpListener?.(bytes, PHONE.address, PHONE.port + 1, call.clock.now());
    call.clock.advance(100);
  }
  const first = sent.length;
  call.writer.begin(1);
  const written = call.writer.write(1, VOICE);
  call.writer.end(1);
  call.clock.advance(6400);
  await written;
  await call.chain.close();
  return sent.slice(first);
}

/** How near what is recovered of every tenth packet is to that packet, dB. */
async function recoveredSnr(packets: readonly SentPacket[]): Promise<number> {
  const [straight, lossy] = [await createOpusDecoder(), await createOpusDecoder()];
  const [whole, found] = [new Int16Array(960), new Int16Array(960)];
  let [signal, noise] = [0, 0];
  for (const [i, { payload }] of packets.entries()) {
    const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
    straight.decode(view, whole);
    const next = packets[i + 1]?.payload ?? payload;
    const behind = new DataView(next.buffer, next.byteOffset, next.byteLength);
    if (i % 10 !== 5) {
      lossy.decode(view, found);
      continue;
    }
    lossy.recover(behind, found, 160);
    for (let s = 0; s < 160 && hasOpusFec(behind); s++) {
      signal += (whole[s] as number) ** 2;
      noise += ((whole[s] as number) - (found[s] as number)) ** 2;
    }
  }
  straight.free();
  lossy.free();
  return signal === 0 ? 0 : 10 * Math.log10(signal / noise);
}

test('a call: the more the far end loses, the better is what it can recover', async () => {
  const good = await recoveredSnr(await sentWith(0, true));
  const bad = await recoveredSnr(await sentWith(25, true));
  assert.ok(good > 6, `${good.toFixed(1)} dB without loss: redundancy stays on`);
  assert.ok(bad > good + 1.5, `${bad.toFixed(1)} dB at 25 %, ${good.toFixed(1)} without loss`);
  assert.equal(await recoveredSnr(await sentWith(25, false)), 0, 'nobody asked for redundancy');
});
