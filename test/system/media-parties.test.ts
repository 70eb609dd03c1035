/** Three on one call over real sockets and the real worker: who hears whom, as a matrix of correlations, and roles changed. */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { silentLog } from '#lib/log.ts';
import { createAudioFiles } from '#media/mix/audio-file.ts';
import { createMediaEngine } from '#media/media-client.ts';
import type { MediaParty } from '#media/mix/mix-types.ts';
import type { NegotiatedAudio } from '#media/types.ts';
import { openSounds } from '../../src/sounds.ts';
import { find, heardSignal, RtpPhone, sweep, tone } from './_rtp-phone.ts';

const media = createMediaEngine({ rtpPorts: { first: 23_800, last: 23_899 }, log: silentLog });
const folder = await mkdtemp(join(tmpdir(), 'callyard-parties-'));
after(async () => {
  await media.close();
  await rm(folder, { recursive: true });
});

const audioTo = (phone: RtpPhone): NegotiatedAudio => ({
  ...{ codec: 'PCMU', payloadType: 0, receivePayloadType: 0, dtmfPayloadType: 101 },
  ...{ remoteAddress: '127.0.0.1', remotePort: phone.port, send: true, receive: true },
});

/** Each voice has a sweep of its own: 1.2 s, unlike the others. */
const VOICES = {
  caller: sweep(300, 900, 1200, 5000),
  agent: sweep(2800, 1900, 1200, 5000),
  supervisor: sweep(1000, 1500, 1200, 5000),
  coach: sweep(1800, 1550, 1200, 5000),
};
type Name = keyof typeof VOICES;

/** Pushes 20 ms frames in real time and reads what is heard, until `stop`. */
function ear(party: MediaParty, said: Int16Array): { readonly heard: number[]; stop(): void } {
  const heard: number[] = [];
  const into = new Int16Array(1600);
  let at = 0;
  const began = performance.now();
  const step = (): void => {
    for (const due = (performance.now() - began) * 8; at < due; at += 160)
      party.push(at + 160 <= said.length ? said.subarray(at, at + 160) : new Int16Array(160));
    for (let n = party.read(into); n > 0; n = party.read(into)) heard.push(...into.subarray(0, n));
    timer = setTimeout(step, 10);
  };
  let timer = setTimeout(step, 0);
  return { heard, stop: () => clearTimeout(timer) };
}

/** How like the loudest place of `voice` in `heard` is to it, whatever else is there. */
function share(heard: Int16Array, voice: Int16Array): number {
  return find(voice.slice(1600, 8000), heard).correlation;
}

test('caller, agent, supervisor and coach: everybody hears all he is to hear, and nothing else', async () => {
  const phone = await RtpPhone.open();
  const session = await media.open({
    ...{ callId: 'made-up', localAddress: '127.0.0.1', recordingPath: null },
    ...{ firstRtpTimeoutMs: 30_000, rtpTimeoutMs: 15_000 },
  });
  session.onEvent(() => undefined);
  session.start(audioTo(phone));
  await phone.play(tone(440, 100), session.localPort);
  const people = {
    supervisor: session.join({ role: 'supervisor' }),
    coach: session.join({ role: 'whisper' }),
  };
  const ears = {
    supervisor: ear(people.supervisor, VOICES.supervisor),
    coach: ear(people.coach, VOICES.coach),
  };
  const before = phone.heard.length;
  session.beginUtterance(1);
  void session.write(1, VOICES.agent);
  session.endUtterance(1);
  await phone.play(VOICES.caller, session.localPort);
  await sleep(400);
  const [spoken, whispered] = (['spoken', 'whispered'] as const).map((kind) => {
    const into = new Int16Array(16_000);
    return into.slice(0, session.readAside(kind, into));
  });
  const callerRing = new Int16Array(32_000);
  const ring = callerRing.slice(0, session.readCaller(callerRing));
  for (const each of Object.values(ears)) each.stop();
  assert.equal(people.supervisor.dropped.heard, 0);
  const heardBy: Record<string, readonly [Int16Array, readonly Name[]]> = {
    caller: [heardSignal(phone).slice(before * 160), ['agent', 'supervisor']],
    supervisor: [Int16Array.from(ears.supervisor.heard), ['caller', 'agent', 'coach']],
    coach: [Int16Array.from(ears.coach.heard), ['caller', 'agent', 'supervisor']],
    'the recogniser': [ring, ['caller']],
    'the agent, spoken': [spoken ?? new Int16Array(0), ['supervisor']],
    'the agent, whispered': [whispered ?? new Int16Array(0), ['coach']],
  };
  for (const [who, [heard, wanted]] of Object.entries(heardBy))
    for (const name of Object.keys(VOICES) as Name[]) {
      const found = share(heard, VOICES[name]);
      const isWanted = wanted.includes(name);
      // One voice of three alike in level is 0.58 of the sum.
      assert.ok(
        isWanted ? found > 0.45 : found < 0.25,
        `${who} hears ${name}: ${found.toFixed(2)}`,
      );
    }

  // The coach takes over: the caller hears him, and the agent no more.
  people.coach.setRole('agent');
  const taken = ear(people.coach, VOICES.coach);
  const from = phone.heard.length;
  session.beginUtterance(2);
  void session.write(2, VOICES.agent);
  session.endUtterance(2);
  await sleep(1600);
  taken.stop();
  const caller = heardSignal(phone).slice(from * 160);
  assert.ok(share(caller, VOICES.coach) > 0.9, `${share(caller, VOICES.coach)}`);
  assert.ok(share(caller, VOICES.agent) < 0.25, `${share(caller, VOICES.agent)}`);
  await session.close();
  assert.equal(people.supervisor.read(new Int16Array(160)), 0, 'who is left is let go');
  phone.close();
});

/** A WAV of 8 kHz mono. */
function wav(pcm: Int16Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(44 + pcm.length * 2);
  const view = new DataView(bytes.buffer);
  for (const [at, tag] of [
    [0, 'RIFF'],
    [8, 'WAVE'],
    [12, 'fmt '],
    [36, 'data'],
  ] as const)
    bytes.set(new TextEncoder().encode(tag), at);
  view.setUint32(4, 36 + pcm.length * 2, true);
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, 8000, true);
  view.setUint32(28, 16_000, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  view.setUint32(40, pcm.length * 2, true);
  new Int16Array(bytes.buffer, 44).set(pcm);
  return bytes;
}

test('sounds: built in, from the folder and from a URL, once for all calls; what is refused', async () => {
  const song = tone(500, 3000);
  let asked = 0;
  const server = createServer((request, response) => {
    asked++;
    if (request.url === '/gone') response.writeHead(404).end();
    else response.end(wav(song));
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as { port: number };
  const url = `http://127.0.0.1:${port}`;
  await mkdir(join(folder, 'sounds'));
  await writeFile(join(folder, 'sounds', 'lobby.wav'), wav(song));
  await writeFile(join(folder, 'secret.wav'), wav(song));
  await writeFile(join(folder, 'sounds', 'notes.txt'), 'no sound');
  await symlink(join(folder, 'secret.wav'), join(folder, 'sounds', 'link.wav'));
  const reach = { allowPrivate: ['127.0.0.1/32'] };
  const sounds = openSounds({
    ...{ audioFiles: createAudioFiles(), reach, dataDir: folder },
    ...{ log: silentLog, holdMusic: 'file:lobby.wav' },
  });
  assert.equal(sounds.holdMusic, 'file:lobby.wav');
  const [one, other] = await Promise.all([
    sounds.loop('a', `${url}/x`),
    sounds.loop('a', `${url}/x`),
  ]);
  assert.equal(one, other, 'one sound for all calls');
  assert.equal(asked, 1);
  assert.ok(one.buffer instanceof SharedArrayBuffer);
  assert.equal(one.length, song.length - 2000);
  assert.notEqual(await sounds.loop('b', `${url}/x`), one, 'but not for other accounts');
  assert.equal((await sounds.loop('a', 'file:lobby.wav')).length, song.length - 2000);
  const office = await sounds.loop('a', 'office');
  assert.equal(office.length, 96_000);
  assert.ok(office.buffer instanceof SharedArrayBuffer);
  assert.equal(await sounds.loop('b', 'office'), office);
  for (const [source, code] of [
    ['file:notes.txt', 'E_MEDIA'],
    ['file:link.wav', 'E_MEDIA'],
    ['file:../secret.wav', 'E_URL_NOT_ALLOWED'],
    ['file:nowhere.wav', 'E_MEDIA'],
    [`${url}/gone`, 'E_UNREACHABLE'],
    ['http://192.0.2.1/x', 'E_URL_NOT_ALLOWED'],
  ] as const)
    await assert.rejects(sounds.loop('a', source), { code }, source);
  const before = asked;
  await assert.rejects(sounds.loop('a', `${url}/gone`));
  assert.equal(asked, before, 'what cannot be had is not asked for by every call');
  server.close();
});
