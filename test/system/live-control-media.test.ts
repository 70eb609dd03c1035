/** Live control on the wire: hold, digits, mute, listeners and recordings with the real engine, worker, SIP and RTP peers. */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '#lib/clock.ts';
import { silentLog } from '#lib/log.ts';
import { holdTune } from '#media/mix/hold-tune.ts';
import { createMediaEngine } from '#media/media-client.ts';
import type { MediaEvent, MediaSession, NegotiatedAudio } from '#media/types.ts';
import { inboundLeg } from '#sessions/inbound-leg.ts';
import type { Leg, LegDialog, LegEvents } from '#sessions/leg.ts';
import type { InboundCall, SipAgent } from '#sip/types.ts';
import { find, heardSignal, RtpPhone, sweep, tone } from './_rtp-phone.ts';
import { connectAgent, startEngine, type TestEngine } from './_sip-engine.ts';
import { header, SDP, SipPeer, type PeerCall } from './_sip-peer.ts';

const media = createMediaEngine({ rtpPorts: { first: 23_700, last: 23_799 }, log: silentLog });
const folder = await mkdtemp(join(tmpdir(), 'callyard-live-'));
let engine: TestEngine;
let agent: SipAgent;
let peer: SipPeer;

before(async () => {
  engine = await startEngine();
  const connected = await connectAgent(engine);
  ({ agent } = connected);
  peer = await SipPeer.open(connected.server);
});

after(async () => {
  await agent.close();
  peer.close();
  await engine.close();
  await media.close();
  await rm(folder, { recursive: true });
});

const TYPE = ['Content-Type: application/sdp'];
const MU_LAW = 'm=audio 40000 RTP/AVP 0 101';

type Live = {
  readonly leg: Leg;
  readonly dialog: LegDialog;
  readonly call: PeerCall;
  readonly phone: RtpPhone;
  readonly session: MediaSession;
  readonly audio: NegotiatedAudio;
  readonly events: MediaEvent[];
  end(): Promise<void>;
};

/** A call from the peer with a phone behind it, answered through a leg, its media running. */
async function live(line = MU_LAW, recordingPath: string | null = null): Promise<Live> {
  const phone = await RtpPhone.open();
  const arriving = Promise.withResolvers<InboundCall>();
  agent.onCall(arriving.resolve);
  const call = peer.start('INVITE', { body: SDP(phone.port, line), extra: TYPE });
  const leg = inboundLeg({
    call: await arriving.promise,
    plan: { delayRingMs: 0, then: { type: 'answer', announceOnly: false, greeting: null } },
    isFull: false,
    ringMs: 0,
    clock: systemClock,
    shownAddress: (local) => local,
  });
  const timeouts = { firstRtpTimeoutMs: 30_000, rtpTimeoutMs: 1000 };
  const localAddress = '127.0.0.1';
  const session = await media.open({ callId: 'made-up', localAddress, recordingPath, ...timeouts });
  const events: MediaEvent[] = [];
  session.onEvent((event) => events.push(event));
  const nothing: LegEvents = {
    ...{ onTrying: () => undefined, onRinging: () => undefined, onCancel: () => undefined },
    ...{ onAway: () => undefined, onBack: () => undefined, onLost: () => undefined },
  };
  const local = { address: localAddress, port: session.localPort };
  const connecting = leg.connect(local, nothing, new AbortController().signal);
  call.confirm(await call.response('INVITE')).ack();
  const connected = await connecting;
  assert.ok(connected.ok);
  const { dialog, audio } = connected;
  session.start(audio);
  const end = async (): Promise<void> => {
    const done = dialog.bye();
    peer.respond(await call.request('BYE'), '200 OK');
    await done;
    await session.close();
    phone.close();
  };
  return { leg, dialog, call, phone, session, audio, events, end };
}

const versionOf = (sdp: string): number => Number(/^o=- \d+ (\d+) /m.exec(sdp)?.[1]);
const directionOf = (sdp: string): string =>
  /^a=(sendrecv|sendonly|recvonly|inactive)\s*$/m.exec(sdp)?.[1] ?? '';

/** Puts the peer on hold or takes it off, with this answer; tells the offer. */
async function hold(here: Live, on: boolean, answer: string): Promise<string> {
  const offer = here.leg.holdOffer(on);
  assert.ok(offer !== null);
  const asking = here.dialog.reinvite(offer);
  const invite = await here.call.request('INVITE');
  peer.respond(invite, '200 OK', { body: answer });
  await here.call.request('ACK');
  const audio = here.leg.acceptAnswer(await asking);
  assert.ok(audio !== null);
  here.session.start(audio);
  return invite.body;
}

const without = (phone: RtpPhone, port = phone.port, direction = 'sendrecv'): string =>
  `${SDP(port, MU_LAW)}a=${direction}\r\n`;

test('hold: offered, answered, music, their own re-INVITE meanwhile, and off again without a gap', async () => {
  const here = await live();
  const { leg, dialog, call, phone, session, events } = here;
  dialog.onOffer((offer) => {
    const answer = leg.renegotiate(offer);
    if ('status' in answer) return Promise.resolve(answer);
    if (answer.audio !== null) session.start(answer.audio);
    return Promise.resolve({ sdp: answer.sdp });
  });
  await phone.play(tone(440, 200), session.localPort);
  const held = await hold(here, true, without(phone, phone.port, 'recvonly'));
  assert.equal(directionOf(held), 'sendonly');
  const before = phone.heard.length;
  session.playLoop(holdTune());
  await sleep(1500);
  assert.equal(events.filter(({ type }) => type === 'media.lost').length, 0, 'longer than 1 s');
  const tune = heardSignal(phone).subarray((before + 15) * 160, (before + 45) * 160);
  const found = find(tune.slice(), holdTune().subarray(0, 32_000));
  assert.ok(found.correlation >= 0.98, `the tune is heard: ${found.correlation}`);

  call.send('INVITE', without(phone), TYPE);
  const refresh = await call.response('INVITE');
  assert.equal(refresh.status, 200);
  assert.equal(directionOf(refresh.body), 'sendonly', 'they stay on hold');
  call.ack();

  session.playLoop(null);
  const resumed = await hold(here, false, without(phone));
  assert.equal(directionOf(resumed), 'sendrecv');
  assert.ok(versionOf(resumed) > versionOf(held), 'the version rises');
  await phone.play(tone(440, 300), session.localPort);
  const chunk = new Int16Array(32_000);
  const count = session.readCaller(chunk);
  assert.ok(
    chunk.subarray(count - 1600, count).some((x) => x > 4000),
    'we hear them again',
  );
  for (const [i, packet] of phone.heard.entries()) {
    const first = phone.heard[0];
    assert.equal(packet.sequence, ((first?.sequence ?? 0) + i) & 0xffff);
    assert.equal(packet.timestamp, ((first?.timestamp ?? 0) + i * 160) >>> 0);
  }
  await here.end();
});

test('a refused hold leaves the call as it was; glare is tried again', async () => {
  const here = await live();
  const { leg, dialog, call, phone, session } = here;
  const refused = assert.rejects(dialog.reinvite(leg.holdOffer(true) ?? ''), {
    code: 'E_SIP_REJECTED',
  });
  peer.respond(await call.request('INVITE'), '488 Not Acceptable Here');
  await refused;
  await call.request('ACK');
  dialog.onOffer((offer) => Promise.resolve(leg.renegotiate(offer) as { sdp: string }));
  call.send('INVITE', without(phone), TYPE);
  assert.equal(directionOf((await call.response('INVITE')).body), 'sendrecv', 'nobody is on hold');
  call.ack();
  await sleep(100);
  assert.ok(phone.heard.length > 3, 'media goes on');

  const asking = dialog.reinvite(() => leg.holdOffer(true) ?? '');
  const first = await call.request('INVITE');
  call.send('INVITE', without(phone), TYPE);
  const crossed = await call.response('INVITE');
  assert.equal(crossed.status, 491);
  call.ackRefusal(crossed);
  peer.respond(first, '491 Request Pending');
  await call.request('ACK');
  const second = await call.request('INVITE');
  assert.ok(
    Number(header(second, 'cseq').split(' ')[0]) > Number(header(first, 'cseq').split(' ')[0]),
  );
  peer.respond(second, '200 OK', { body: without(phone, phone.port, 'recvonly') });
  await call.request('ACK');
  const audio = leg.acceptAnswer(await asking);
  assert.deepEqual([audio?.send, audio?.receive], [true, false]);
  if (audio !== null) session.start(audio);
  await here.end();
});

test('digits: by RFC 4733, in band, and by INFO', async () => {
  const here = await live();
  const { session, phone, call, dialog } = here;
  assert.equal(session.takesEvents, true);
  await session.sendDtmf('1w#', { mode: 'rfc4733', toneMs: 100, gapMs: 100 });
  const packets = phone.heard.filter(({ payloadType }) => payloadType === 101);
  assert.deepEqual(
    packets.map(
      ({ marker, payload }) => `${marker ? 'M' : '-'}${Buffer.from(payload).toString('hex')}`,
    ),
    [1, 11].flatMap((code) => {
      const hex = code.toString(16).padStart(2, '0');
      const end = `-${hex}8a0320`;
      return [`M${hex}0a00a0`, `-${hex}0a0140`, `-${hex}0a01e0`, `-${hex}0a0280`, end, end, end];
    }),
  );
  for (const [i, packet] of phone.heard.entries())
    assert.equal(packet.sequence, ((phone.heard[0]?.sequence ?? 0) + i) & 0xffff);

  const from = phone.heard.length;
  await session.sendDtmf('5', { mode: 'inband', toneMs: 100, gapMs: 60 });
  await sleep(50);
  const heard = phone.heard.slice(from).flatMap(({ pcm }) => [...pcm]);
  const start = heard.findIndex((x) => Math.abs(x) > 300);
  const pure = [770, 1336].map((hz) => strength(heard.slice(start, start + 780), hz));
  const other = strength(heard.slice(start, start + 780), 941);
  assert.ok(Math.min(...pure) > 10 * other, `${pure.join()} against ${other}`);

  const sent = dialog.sendDtmf('5', 120);
  const info = await call.request('INFO');
  assert.equal(header(info, 'content-type'), 'application/dtmf-relay');
  assert.equal(info.body, 'Signal=5\r\nDuration=120\r\n');
  peer.respond(info, '200 OK');
  await sent;
  const refused = assert.rejects(dialog.sendDtmf('#', 120), {
    code: 'E_SIP_REJECTED',
    details: { status: 415 },
  });
  peer.respond(await call.request('INFO'), '415 Unsupported Media Type');
  await refused;
  await here.end();
  await assert.rejects(dialog.sendDtmf('1', 100), { code: 'E_SIP_DIALOG_GONE' });
});

function strength(pcm: readonly number[], hz: number): number {
  let [re, im] = [0, 0];
  for (const [i, x] of pcm.entries()) {
    re += x * Math.cos((2 * Math.PI * hz * i) / 8000);
    im += x * Math.sin((2 * Math.PI * hz * i) / 8000);
  }
  return Math.hypot(re, im);
}

test('a peer without telephone-event says so at once; a call that ends takes its digits along', async () => {
  const here = await live('m=audio 40000 RTP/AVP 0');
  const { session } = here;
  assert.equal(session.takesEvents, false);
  const tones = { toneMs: 100, gapMs: 100 };
  await assert.rejects(session.sendDtmf('1', { mode: 'rfc4733', ...tones }), { code: 'E_DTMF' });
  const waiting = assert.rejects(session.sendDtmf('123', { mode: 'inband', ...tones }), {
    code: 'E_ABORTED',
  });
  await here.end();
  await waiting;
});

async function channels(path: string): Promise<[Int16Array, Int16Array]> {
  const bytes = await readFile(path);
  assert.equal(bytes.readUInt32LE(40), bytes.length - 44, 'the header tells the length');
  const frames = (bytes.length - 44) / 4;
  const sides: [Int16Array, Int16Array] = [new Int16Array(frames), new Int16Array(frames)];
  for (let i = 0; i < frames; i++) {
    sides[0][i] = bytes.readInt16LE(44 + i * 4);
    sides[1][i] = bytes.readInt16LE(44 + i * 4 + 2);
  }
  return sides;
}

/** Of the quarters the best, at the place of the whole: a stall of the machine breaks one of them, not all. */
function findPart(wanted: Int16Array, signal: Int16Array): { correlation: number; at: number } {
  const length = wanted.length / 4;
  const found = [0, 1, 2, 3].map((part) => {
    const { correlation, at } = find(wanted.subarray(part * length, (part + 1) * length), signal);
    return { correlation, at: at - part * length };
  });
  return found.reduce((best, one) => (one.correlation > best.correlation ? one : best));
}

test('a recording begun in mid-call with a pause in it, closed while the call goes on; then another', async () => {
  const here = await live();
  const { session, phone } = here;
  const [first, second] = [join(folder, 'first.wav'), join(folder, 'second.wav')];
  assert.equal(await session.stopRecording(), null);
  await phone.play(tone(440, 200), session.localPort);
  const [kept, hidden, last] = [sweep(300, 1500, 400), tone(440, 400), sweep(2500, 900, 400)];
  const quiet = new Int16Array(1600);
  session.startRecording(first, null);
  assert.throws(() => session.startRecording(second, null), { code: 'E_CONFLICT' });
  await phone.play(kept, session.localPort);
  await phone.play(quiet, session.localPort);
  session.pauseRecording();
  await phone.play(hidden, session.localPort);
  session.resumeRecording();
  await phone.play(quiet, session.localPort);
  await phone.play(last, session.localPort);
  await phone.play(quiet, session.localPort);
  const stopping = session.stopRecording();
  await phone.play(quiet, session.localPort);
  const result = await stopping;
  assert.ok(result && Math.abs(result.durationMs - 1320) <= 80, `${result?.durationMs} ms`);
  const [caller] = await channels(first);
  assert.equal(caller.length / 8, result.durationMs);
  const [keptAt, lastAt] = [findPart(kept, caller), findPart(last, caller)];
  assert.ok(keptAt.correlation >= 0.98 && lastAt.correlation >= 0.98);
  assert.ok(Math.abs(lastAt.at - keptAt.at - 8 * 800) <= 8 * 100, 'joined without the pause');

  session.startRecording(second, null);
  await phone.play(last, session.localPort);
  await phone.play(quiet, session.localPort);
  const closing = session.close();
  const { recording } = await closing;
  assert.equal(recording?.path, second);
  assert.ok(findPart(last, (await channels(second))[0]).correlation >= 0.98);
  await here.end();
});

test('mute and listeners: what either side hears, and what the eight listeners do', async () => {
  const here = await live();
  const { session, phone } = here;
  const taps = Array.from({ length: 8 }, () => session.tap());
  assert.throws(() => session.tap(), { code: 'E_QUEUE_FULL' });
  const caller = sweep(2500, 500, 800);
  const said = sweep(300, 2000, 800);
  session.mute({ side: 'caller', on: true });
  session.beginUtterance(1);
  const written = session.write(1, said);
  session.endUtterance(1);
  await phone.play(caller, session.localPort);
  await phone.play(new Int16Array(3200), session.localPort);
  await written;
  const ring = new Int16Array(16_000);
  assert.ok(ring.subarray(0, session.readCaller(ring)).every((x) => x === 0));
  assert.ok(find(said, heardSignal(phone)).correlation >= 0.98);
  const [left, right] = [new Int16Array(16_000), new Int16Array(16_000)];
  const count = taps[7]?.read(left, right) ?? 0;
  assert.ok(count > 0 && count % 160 === 0);
  assert.ok(find(caller, left.subarray(0, count)).correlation >= 0.98, 'the caller, though muted');
  assert.ok(find(said, right.subarray(0, count)).correlation >= 0.98, 'the agent as sent');

  session.mute({ side: 'caller', on: false });
  session.mute({ side: 'agent', on: true });
  await sleep(60);
  taps[0]?.close();
  const ninth = session.tap();
  const from = phone.heard.length;
  session.beginUtterance(2);
  const more = session.write(2, tone(440, 200));
  session.endUtterance(2);
  await phone.play(tone(440, 500), session.localPort);
  await more;
  const peak = phone.heard
    .slice(from)
    .flatMap(({ pcm }) => [...pcm])
    .reduce((max, x) => Math.max(max, Math.abs(x)), 0);
  assert.ok(peak < 20, `${peak}`);
  assert.ok(here.events.some((event) => event.type === 'playout.done' && event.utterance === 2));
  const heard = ring.subarray(0, session.readCaller(ring));
  assert.ok(
    heard.some((x) => x > 4000),
    'the caller is heard again',
  );
  assert.ok(ninth.read(left, right) > 0);
  await here.end();
  assert.equal(ninth.read(left, right), 0);
  assert.throws(() => session.tap(), { code: 'E_ABORTED' });
});
