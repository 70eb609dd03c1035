/** Live control against baresip: put on hold with music, digits of all three kinds, its own hold and resumption. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '#lib/clock.ts';
import { silentLog } from '#lib/log.ts';
import { holdTune } from '#media/mix/hold-tune.ts';
import { createMediaEngine } from '#media/media-client.ts';
import { inboundLeg } from '#sessions/inbound-leg.ts';
import type { LegEvents } from '#sessions/leg.ts';
import type { InboundCall, SipAgent } from '#sip/types.ts';
import { connectAgent, startEngine, type TestEngine } from '../system/_sip-engine.ts';
import { startBaresip } from './tools/baresip.ts';
import { compareAudio } from './tools/correlate.ts';
import { callerAudio } from './tools/script.ts';

const NODE = '127.0.0.1';
const folder = mkdtempSync(join(tmpdir(), 'callyard-live-'));
const media = createMediaEngine({ rtpPorts: { first: 23_800, last: 23_819 }, log: silentLog });
let engine: TestEngine;
let agent: SipAgent;
let port = 0;

before(async () => {
  engine = await startEngine();
  const connected = await connectAgent(engine);
  ({ agent } = connected);
  ({ port } = connected.server);
});
after(async () => {
  await agent.close();
  await engine.close();
  await media.close();
  rmSync(folder, { recursive: true, force: true });
});

const IDLE: LegEvents = {
  ...{ onTrying: () => undefined, onRinging: () => undefined, onCancel: () => undefined },
  ...{ onAway: () => undefined, onBack: () => undefined, onLost: () => undefined },
};

async function answer(call: InboundCall) {
  const leg = inboundLeg({
    call,
    plan: { delayRingMs: 0, then: { type: 'answer', announceOnly: false, greeting: null } },
    isFull: false,
    ringMs: 0,
    clock: systemClock,
    shownAddress: (local) => local,
  });
  const session = await media.open({
    ...{ callId: 'made-up', localAddress: NODE, recordingPath: null },
    ...{ firstRtpTimeoutMs: 30_000, rtpTimeoutMs: 800 },
  });
  const lost: number[] = [];
  session.onEvent((event) => {
    if (event.type === 'media.lost') lost.push(event.atMs);
  });
  const local = { address: NODE, port: session.localPort };
  const connected = await leg.connect(local, IDLE, new AbortController().signal);
  assert.ok(connected.ok);
  const { dialog } = connected;
  session.start(connected.audio);
  const directions: [boolean, boolean][] = [];
  dialog.onOffer((offer) => {
    const answered = leg.renegotiate(offer);
    if ('status' in answered) return Promise.resolve(answered);
    if (answered.audio !== null) session.start(answered.audio);
    directions.push([answered.audio?.send ?? true, answered.audio?.receive ?? true]);
    return Promise.resolve({ sdp: answered.sdp });
  });
  const hold = async (on: boolean): Promise<[boolean, boolean]> => {
    const audio = leg.acceptAnswer(await dialog.reinvite(() => leg.holdOffer(on) ?? ''));
    assert.ok(audio !== null);
    session.start(audio);
    return [audio.send, audio.receive];
  };
  return { session, dialog, hold, lost, directions };
}

test('baresip on hold, its digits, and its own hold', async () => {
  const { phone, call } = await calling('alice', '127.0.0.31');
  await using _ = phone;
  const { session, dialog, hold, lost, directions } = call;
  assert.deepEqual(await hold(true), [true, false]);
  await sleep(1500);
  assert.deepEqual(lost, [], 'silence on hold is not a loss');
  assert.deepEqual(await hold(false), [true, true]);

  assert.equal(session.takesEvents, true);
  await session.sendDtmf('19#', { mode: 'rfc4733', toneMs: 120, gapMs: 120 });
  await dialog.sendDtmf('5', 160);
  const digits: (string | undefined)[] = [];
  for (let i = 0; i < 4; i++) digits.push((await phone.waitFor('CALL_DTMF_START', 5000)).param);
  assert.deepEqual(digits, ['1', '9', '#', '5']);

  await phone.command('hold');
  await sleep(1500);
  assert.deepEqual(directions, [[false, true]]);
  await phone.command('resume');
  await sleep(500);
  assert.deepEqual(directions.at(-1), [true, true]);

  await dialog.bye();
  await phone.waitFor('CALL_CLOSED', 15_000);
  const { stats } = await session.close();
  assert.ok(stats.packetsReceived > 50, `${stats.packetsReceived} packets came`);
});

test('baresip hears the tune, and is sent it while it is held', async () => {
  const { phone, call } = await calling('bob', '127.0.0.32');
  await using _ = phone;
  call.session.playLoop(holdTune());
  await sleep(2500);
  // Its file sound card writes nothing down while it is held: until here it is asked, from here on the wire.
  assert.deepEqual(await call.hold(true), [true, false]);
  await sleep(2000);
  await call.dialog.bye();
  await phone.waitFor('CALL_CLOSED', 15_000);
  const { stats } = await call.session.close();
  assert.ok(stats.packetsSent >= 215, `${stats.packetsSent} packets in 4.5 s`);
  const tune = compareAudio(holdTune().slice(2000, 14_000), phone.heard());
  assert.ok(tune.correlation >= 0.9, `baresip heard ${JSON.stringify(tune)}`);
});

async function calling(name: string, address: string) {
  const phone = await startBaresip({ folder, name, address, speech: callerAudio() });
  try {
    const arriving = Promise.withResolvers<InboundCall>();
    agent.onCall(arriving.resolve);
    await phone.command(`dial sip:8001@${NODE}:${port}`);
    const call = await answer(await arriving.promise);
    await phone.waitFor('CALL_ESTABLISHED', 15_000);
    return { phone, call };
  } catch (error) {
    await phone.stop();
    throw error;
  }
}
