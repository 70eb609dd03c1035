/** Live control over a real call: what each command does is heard, seen on the wire and kept (contract 2.7). */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test, type TestContext } from 'node:test';
import { startTestApp, type TestApp } from './_app.ts';
import { isSilent, LivePhone, pause } from './_control-kit.ts';
import { sweep } from './_rtp-phone.ts';
import { atEnd } from './_store.ts';

const SCRIPT = {
  greeting: 'Welcome to the line.',
  utterances: { '1': 'What do I pay?', '2': 'Stop please.' },
  replies: [
    { match: 'Tell them about the refund.', reply: 'You get a refund.' },
    { match: 'What do I pay?', note: '/VIP/', reply: 'Nothing at all today.' },
    { match: 'What do I pay?', reply: 'Ten euros sixty.' },
  ],
  defaultReply: 'I have stopped.',
};

async function start(t: TestContext, env: Readonly<Record<string, string>> = {}): Promise<TestApp> {
  return startTestApp(t, env, { script: SCRIPT });
}

const words = (messages: readonly { role: string; content: string; interrupted?: boolean }[]) =>
  messages.map(
    ({ role, content, interrupted }) => `${role}: ${content}${interrupted === true ? ' /' : ''}`,
  );

test('say: after what is being said, instead of it, and not to be talked over', async (t) => {
  const phone = await LivePhone.dial(t, await start(t));
  const first = await phone.done('say', { text: 'One moment please.' });
  const greeted = await phone.hears('Welcome to the line.');
  const said = await phone.hears('One moment please.');
  assert.ok(said > greeted, 'after the greeting');
  assert.equal(typeof first['turn'], 'number');
  await phone.quiet();

  const from = phone.now;
  await phone.done('say', { text: 'This is a long sentence that nobody will hear to its end.' });
  await phone.hears('This is a', from);
  await phone.done('say', { text: 'Fire alarm leave now.', interrupt: true, interruptible: false });
  await pause(200);
  phone.say(2, 900);
  await phone.hears('Fire alarm leave now.', from);
  await phone.hears('I have stopped.', from);
  await phone.quiet();
  const [, , cut, alarm, user, reply] = words(await phone.messages());
  assert.match(cut ?? '', /^assistant: This is a( .*)? \/$/);
  // The caller may be read before the alarm is over.
  assert.deepEqual(
    new Set([alarm, user, reply]),
    new Set([
      ...['assistant: Fire alarm leave now.', 'user: Stop please.', 'assistant: I have stopped.'],
    ]),
  );
  assert.ok(!phone.hasHeard('hear to its end.', from));
});

test('play: fetched, decoded, heard to the sample, looped until the caller speaks', async (t) => {
  const sound = sweep(300, 2500, 1000);
  const files = createServer((request, response) => {
    if (request.url?.startsWith('/away') === true)
      return void response.writeHead(302, { location: '/a.wav' }).end();
    if (request.url?.startsWith('/text') === true) return void response.end('no sound');
    if (request.url?.startsWith('/a.wav') !== true) return void response.writeHead(404).end();
    response.end(wavOf(sound));
  });
  await new Promise<void>((resolve) => files.listen(0, '127.0.0.1', resolve));
  atEnd(t, () => void files.close());
  const base = `http://127.0.0.1:${(files.address() as AddressInfo).port}`;
  const phone = await LivePhone.dial(t, await start(t, { CALLYARD_OUTBOUND_ALLOW: '127.0.0.0/8' }));
  await phone.hears('Welcome to the line.');
  await phone.quiet();

  const rows: [url: string, status: number, code: string, rule: string | null][] = [
    ['https://10.0.0.1/a.wav', 400, 'VALIDATION_FAILED', 'public_host'],
    ['ftp://example.com/a.wav', 400, 'VALIDATION_FAILED', 'url'],
    [`${base}/text`, 400, 'VALIDATION_FAILED', 'sound'],
    [`${base}/missing`, 502, 'PROVIDER_REJECTED', null],
    [`${base}/away`, 502, 'PROVIDER_REJECTED', null],
  ];
  for (const [url, status, code, rule] of rows) {
    const answer = await phone.command('play', { url });
    assert.equal(answer.status, status, url);
    const error = answer.body['error'] as { code: string; details?: { rule: string }[] };
    assert.equal(error.code, code, url);
    if (rule !== null) assert.equal(error.details?.[0]?.rule, rule, url);
  }

  const from = phone.now;
  const played = await phone.done('play', { url: `${base}/a.wav?sig=secret` });
  assert.equal(played['duration_ms'], 1000);
  await phone.hearsSound(sound, 'the sound', { from });
  await phone.quiet();
  const again = phone.now;
  await phone.done('play', { url: `${base}/a.wav`, loop: true });
  await pause(2600);
  assert.ok(!isSilent(phone.since(again + 110)), 'a second round is heard');
  phone.say(2, 900);
  // To search the sound for words would hold up the caller's own packets, and with them what he says.
  await pause(1300);
  await phone.hears('I have stopped.', phone.now - 10);
  assert.deepEqual(words(await phone.messages()).slice(1, 4), [
    'assistant: [Audio: a.wav]',
    'assistant: [Audio: a.wav] /',
    'user: Stop please.',
  ]);
});

test('dtmf: as events, in the audio, by INFO', async (t) => {
  const phone = await LivePhone.dial(t, await start(t));
  await phone.hears('Welcome to the line.');
  await phone.quiet();
  assert.deepEqual(await phone.done('dtmf', { digits: '1w#' }), { sent: '1w#' });
  await pause(1500);
  const events = phone.rtp.heard.filter(({ payloadType }) => payloadType === 101);
  assert.ok(events.length > 6, 'both keys, each several times');
  const from = phone.now;
  await phone.done('dtmf', { digits: '5', mode: 'inband', tone_ms: 200 });
  const five = dtmfTone(770, 1336, 150);
  await phone.hearsSound(five, 'the tones of 5', { from });
  const sent = phone.command('dtmf', { digits: 'A', mode: 'info', tone_ms: 160 });
  const info = await phone.sip.request('INFO');
  assert.match(info.body, /Signal\s*=\s*A[^]*Duration\s*=\s*160/);
  phone.peer.respond(info, '200 OK');
  assert.equal((await sent).status, 200);
  const refused = phone.command('dtmf', { digits: '7', mode: 'info' });
  phone.peer.respond(await phone.sip.request('INFO'), '415 Unsupported Media Type');
  const answer = await refused;
  assert.equal(answer.status, 502);
  const error = answer.body['error'] as { code: string; details: unknown };
  assert.deepEqual([error.code, error.details], ['PROVIDER_REJECTED', { vendor_code: '415' }]);
});

test('dtmf: keys become tones where the far end takes no events', async (t) => {
  const phone = await LivePhone.dial(t, await start(t), { events: false });
  await phone.hears('Welcome to the line.');
  await phone.quiet();
  const from = phone.now;
  await phone.done('dtmf', { digits: '5', tone_ms: 200 });
  await phone.hearsSound(dtmfTone(770, 1336, 150), 'the tones of 5', { from });
  assert.ok(phone.rtp.heard.every(({ payloadType }) => payloadType === 0));
});

test('hold: the other side is told, hears music, and is greeted by the rest of the sentence', async (t) => {
  const phone = await LivePhone.dial(t, await start(t));
  await phone.hears('Welcome to the');
  await phone.quiet();
  await phone.done('say', { text: 'Your number is one two three four five six seven eight.' });
  await phone.hears('Your number is');
  const held = phone.done('hold', { on: true });
  assert.match(await phone.answerOffer('recvonly'), /a=sendonly/);
  assert.deepEqual(await held, { on: true });
  assert.deepEqual(await phone.done('hold', { on: true }), { on: true }, 'on is on');
  const from = phone.now;
  await pause(1500);
  assert.ok(!isSilent(phone.since(from)), 'music');
  assert.ok(!phone.hasHeard('six seven eight.', from));
  const refused = await phone.command('say', { text: 'Hello' });
  assert.equal(refused.status, 409);
  phone.say(1);
  await pause(2000);
  const back = phone.done('hold', { on: false });
  assert.match(await phone.answerOffer('sendrecv'), /a=sendrecv/);
  assert.deepEqual(await back, { on: false });
  await phone.hears('six seven eight.', from);
  await phone.quiet();
  assert.ok(!words(await phone.messages()).includes('user: What do I pay?'), 'nobody heard it');

  const no = phone.command('hold', { on: true });
  await phone.answerOffer('refuse');
  const answer = await no;
  assert.equal(answer.status, 502);
  phone.say(1);
  await phone.hears('Ten euros sixty.', phone.now);
});

test('mute: neither side hears the other, and the agent does not ask why', async (t) => {
  const phone = await LivePhone.dial(t, await start(t));
  await phone.hears('Welcome to the line.');
  await phone.quiet();
  assert.deepEqual(await phone.done('mute', { side: 'caller', on: true }), {
    ...{ side: 'caller', on: true },
  });
  phone.say(1);
  await pause(2500);
  assert.equal((await phone.messages()).length, 1, 'only the greeting');
  await phone.done('mute', { side: 'caller', on: false });
  phone.say(1);
  await phone.hears('Ten euros sixty.');
  await phone.quiet();
  await phone.done('mute', { side: 'agent', on: true });
  const from = phone.now;
  await phone.done('say', { text: 'Nobody hears this.' });
  await pause(1500);
  assert.ok(isSilent(phone.since(from + 5)));
  await phone.done('mute', { side: 'agent', on: false });
  await phone.done('say', { text: 'Now you hear me.' });
  await phone.hears('Now you hear me.', from);
});

test('message: the model knows it, nobody hears it; with respond it speaks by itself', async (t) => {
  const phone = await LivePhone.dial(t, await start(t));
  await phone.hears('Welcome to the line.');
  await phone.quiet();
  const from = phone.now;
  assert.deepEqual(await phone.done('message', { text: 'The caller is a VIP.' }), {
    accepted: true,
  });
  await pause(1000);
  assert.ok(isSilent(phone.since(from)));
  phone.say(1);
  await phone.hears('Nothing at all today.', from);
  await phone.quiet();
  await phone.done('message', { text: 'Tell them about the refund.', respond: true });
  await phone.hears('You get a refund.', from);
  await phone.quiet();
  assert.deepEqual(words(await phone.messages()), [
    'assistant: Welcome to the line.',
    'system: The caller is a VIP.',
    'user: What do I pay?',
    'assistant: Nothing at all today.',
    'system: Tell them about the refund.',
    'assistant: You get a refund.',
  ]);
});

/** Mono, 16 bits, 8 kHz. */
export function wavOf(pcm: Int16Array): Buffer {
  const header = Buffer.alloc(44);
  header.write('RIFF', 0);
  header.writeUInt32LE(36 + pcm.length * 2, 4);
  header.write('WAVEfmt ', 8);
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20);
  header.writeUInt16LE(1, 22);
  header.writeUInt32LE(8000, 24);
  header.writeUInt32LE(16_000, 28);
  header.writeUInt16LE(2, 32);
  header.writeUInt16LE(16, 34);
  header.write('data', 36);
  header.writeUInt32LE(pcm.length * 2, 40);
  return Buffer.concat([header, Buffer.from(pcm.buffer, pcm.byteOffset, pcm.byteLength)]);
}

function dtmfTone(lowHz: number, highHz: number, ms: number): Int16Array {
  const pcm = new Int16Array(ms * 8);
  for (let i = 0; i < pcm.length; i++) {
    const at = (2 * Math.PI * i) / 8000;
    pcm[i] = 6000 * (Math.sin(lowHz * at) + Math.sin(highHz * at));
  }
  return pcm;
}
