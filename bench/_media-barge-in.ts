/**
 * How soon the agent is silent once the detector has decided: over a hundred interruptions on the real engine and real
 * sockets, from the decision to the last packet with the agent's old words on the wire, as the phone gets it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { silentLog } from '#lib/log.ts';
import { createMediaEngine, type LocalMediaEngine } from '#media/media-client.ts';
import type { MediaEvent } from '#media/types.ts';
import { RtpPhone, sweep, tone } from '../test/system/_rtp-phone.ts';
import { rounded, type BenchResult } from './_result.ts';
import { percentile, randomFrom } from './_talk-server.ts';

const CALLS = 8;
const ROUNDS = 14;
const FLOOR_MS = 40;
/** Louder than this the agent still speaks; after a cut 5 ms fade out. */
const LOUD = 300;
const AGENT = sweep(300, 1200, 4000, 9000);

export async function measureBargeIn(seed: number): Promise<BenchResult[]> {
  const rtpPorts = { first: 27_700, last: 27_700 + 2 * CALLS + 1 };
  const engine = createMediaEngine({ rtpPorts, log: silentLog });
  try {
    await engine.ready();
    const all = await Promise.all(
      Array.from({ length: CALLS }, (_, i) => interruptions(engine, seed * 100 + i)),
    );
    const reacts = all.flat();
    const p99 = percentile(reacts, 0.99);
    const median = rounded(percentile(reacts, 0.5), 1);
    return [
      {
        ...{ bench: 'media', metric: 'barge_in_react_p99_ms', value: rounded(p99, 1), unit: 'ms' },
        against: `${reacts.length} interruptions of ${CALLS * ROUNDS}, median ${median} ms; a frame lasts 20 ms`,
        ...{ ratio: rounded(p99 / 20), floor: `<= ${FLOOR_MS}` },
        ok: p99 <= FLOOR_MS && reacts.length >= 100,
      },
    ];
  } finally {
    await engine.close();
  }
}

async function interruptions(engine: LocalMediaEngine, seed: number): Promise<number[]> {
  const random = randomFrom(seed);
  const phone = await RtpPhone.open();
  const session = await engine.open({
    ...{ callId: `barge-${seed}`, localAddress: '127.0.0.1', recordingPath: null },
    ...{ firstRtpTimeoutMs: 60_000, rtpTimeoutMs: 60_000 },
  });
  const events: MediaEvent[] = [];
  session.onEvent((event) => events.push(event));
  session.start({
    ...{ codec: 'PCMU', payloadType: 0, receivePayloadType: 0, dtmfPayloadType: 101 },
    ...{ remoteAddress: '127.0.0.1', remotePort: phone.port, send: true, receive: true },
  });
  session.armBargeIn(true);
  const reacts: number[] = [];
  const silence = (ms: number): Promise<void> =>
    phone.play(new Int16Array(8 * ms), session.localPort);
  await silence(300);
  for (let round = 1; round <= ROUNDS; round++) {
    events.length = 0;
    phone.heard.length = 0;
    session.beginUtterance(round);
    await session.write(round, AGENT);
    session.endUtterance(round);
    await silence(300 + Math.floor(random() * 15) * 20 + 20);
    await sleep(random() * 20);
    await phone.play(tone(180 + random() * 900, 200, 12_000, true), session.localPort);
    await silence(240);
    const react = reactOf(events, phone);
    if (react !== null) reacts.push(react);
    session.flush();
    await silence(100);
  }
  await session.close();
  phone.close();
  return reacts;
}

/** From the decision to the last loud packet; null when there was no interruption. */
function reactOf(events: readonly MediaEvent[], phone: RtpPhone): number | null {
  const began = events.find((event) => event.type === 'playout.started');
  const decided = events.find((event) => event.type === 'speech.started');
  if (began === undefined || decided === undefined) return null;
  // Both clocks of one event tell where the call's own time begins.
  const decidedMs = began.wireMs - began.atMs + decided.atMs - performance.timeOrigin;
  const loud = phone.heard.filter(({ pcm }) => pcm.some((sample) => Math.abs(sample) > LOUD));
  const last = loud.at(-1);
  return last === undefined ? null : Math.max(0, last.atMs - decidedMs);
}
