/** Calls with SRTP through the whole server: they converse, nothing plain passes either way, keys are told to nobody. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { inspect } from 'node:util';
import type { Log } from '#lib/log.ts';
import { encodeUtteranceId } from '#lib/utterance-tones.ts';
import { eventually, startTestApp, type TestApp } from './_app.ts';
import { find } from './_rtp-phone.ts';
import { header, SipPeer, type PeerMessage } from './_sip-peer.ts';
import { SrtpPhone, type PhoneSuite } from './_srtp-phone.ts';
import { atEnd } from './_store.ts';
import { dumpOf } from './_tenants.ts';

const TYPE = 'Content-Type: application/sdp';
const SCRIPT = {
  greeting: 'Hello.',
  utterances: { '1': 'I want to cancel my order.' },
  replies: [{ match: 'I want to cancel my order.', reply: 'It is cancelled.' }],
  defaultReply: 'Say that again.',
};

type Record = { status: string; messages: { role: string; content: string }[] };

/** Tones with a number, then something with the level of speech. */
function utterance(id: number): Int16Array {
  const code = encodeUtteranceId(id);
  const pcm = new Int16Array(code.length + 600 * 8);
  pcm.set(code);
  for (let i = code.length; i < pcm.length; i++) {
    pcm[i] =
      5000 * (Math.sin(i * 0.14) + 0.5 * Math.sin(i * 0.56)) * (0.6 + 0.4 * Math.sin(i / 320));
  }
  return pcm;
}

function capturingLog(lines: string[]): Log {
  const take = (event: string, fields?: object): void => {
    lines.push(`${event} ${inspect(fields, { depth: 12, showHidden: true })}`);
  };
  const log: Log = { debug: take, info: take, warn: take, error: take, child: () => log };
  return log;
}

const sdpOf = (phone: SrtpPhone, profile: string, tag: number, crypto = true): string =>
  [
    ...['v=0', 'o=peer 1 1 IN IP4 127.0.0.1', 's=-', 'c=IN IP4 127.0.0.1', 't=0 0'],
    `m=audio ${phone.port} ${profile} 0`,
    ...(crypto ? [`a=crypto:${tag} ${phone.suite} inline:${phone.inline}`] : []),
    '',
  ].join('\r\n');

const mediaPort = (body: string): number => Number(/^m=audio (\d+)/m.exec(body)?.[1]);
const keyIn = (body: string, suite: string): string =>
  new RegExp(`a=crypto:\\d+ ${suite} inline:([A-Za-z0-9+/=]+)`).exec(body)?.[1] ?? '';

/** The records of `count` calls that have ended and are not among `known`, which gets them. */
async function endsOf(server: TestApp, known: Set<string>, count = 1): Promise<Record[]> {
  const path = '/api/v1/call-records';
  const list = await eventually(
    async () => {
      const { data } = await server.get<{ records: { id: string; status: string }[] }>(path);
      return data.records.filter(({ id, status }) => status === 'ended' && !known.has(id));
    },
    (ended) => ended.length >= count,
  );
  for (const { id } of list) known.add(id);
  return Promise.all(list.map(async ({ id }) => (await server.get<Record>(`${path}/${id}`)).data));
}

/** Waits for so many packets of speech, loud ones, after packet number `from`. */
async function hear(phone: SrtpPhone, from: number, packets: number): Promise<void> {
  const loud = (): number =>
    phone.heard.slice(from).filter(({ pcm }) => pcm.some((sample) => Math.abs(sample) > 500))
      .length;
  assert.ok(
    (await eventually(
      async () => loud(),
      (count) => count >= packets,
    )) >= packets,
  );
}

async function callIn(t: TestContext, server: TestApp, phone: SrtpPhone, body: string) {
  const peer = await SipPeer.open(server.sip);
  atEnd(t, () => peer.close());
  atEnd(t, () => phone.close());
  const call = peer.start('INVITE', { body, extra: [TYPE] });
  const answer = await call.response('INVITE');
  return { call, answer };
}

async function quiet(phone: SrtpPhone): Promise<void> {
  await eventually(
    async () => phone.heard.slice(-25),
    (last) => last.length === 25 && last.every(({ pcm }) => pcm.every((s) => Math.abs(s) < 500)),
  );
}

async function refusals(
  t: TestContext,
  server: TestApp,
  known: Set<string>,
  lines: readonly string[],
): Promise<void> {
  const phone = await SrtpPhone.open('AES_CM_128_HMAC_SHA1_80');
  const plain = await callIn(t, server, phone, sdpOf(phone, 'RTP/AVP', 1, false));
  assert.equal(plain.answer.status, 488);
  assert.match(header(plain.answer, 'warning'), /^305 callyard "SRTP is required/);
  plain.call.ackRefusal(plain.answer);
  const amr = sdpOf(phone, 'RTP/SAVP', 1).replace('RTP/SAVP 0', 'RTP/SAVP 18');
  const other = await callIn(t, server, phone, amr);
  assert.equal(other.answer.status, 488);
  assert.match(header(other.answer, 'warning'), /"G729 offered; PCMU spoken"/);
  other.call.ackRefusal(other.answer);
  assert.equal(lines.filter((line) => /^call\.mediaRefused .*docs/s.test(line)).length, 2);

  const { call, answer } = await callIn(t, server, phone, sdpOf(phone, 'RTP/SAVP', 1));
  phone.agree(keyIn(answer.body, phone.suite), randomBytes(30));
  call.confirm(answer).ack();
  await phone.play(utterance(1), mediaPort(answer.body));
  await hear(phone, 0, 5);
  await quiet(phone);
  assert.equal(phone.refused, 0);
  assert.ok(find(utterance(1).subarray(0, 800), phone.signal).correlation < 0.9);
  call.send('BYE');
  await call.response('BYE');
  const [record] = await endsOf(server, known);
  assert.deepEqual(
    record?.messages.map(({ role }) => role),
    ['assistant'],
  );
}

/** A whole call; what comes back is every key that was in use. */
async function converse(t: TestContext, server: TestApp, suite: PhoneSuite): Promise<string[]> {
  const phone = await SrtpPhone.open(suite);
  const { call, answer } = await callIn(t, server, phone, sdpOf(phone, 'RTP/SAVP', 4));
  assert.equal(answer.status, 200, answer.startLine);
  assert.match(answer.body, /m=audio \d+ RTP\/SAVP 0\r\n/);
  assert.match(answer.body, new RegExp(`a=crypto:4 ${suite} `));
  const theirs = keyIn(answer.body, suite);
  phone.agree(theirs);
  call.confirm(answer).ack();
  const port = mediaPort(answer.body);
  // Plain packets from the very address that was signalled, before and after the real ones.
  await phone.play(utterance(1).subarray(0, 1600), port, { plain: true });
  await phone.play(new Int16Array(1600), port);
  await hear(phone, 0, 5);
  await quiet(phone);
  const before = phone.heard.length;
  await phone.play(utterance(1), port);
  const silence = phone.play(new Int16Array(15 * 8000), port);
  await hear(phone, before, 5);
  assert.equal(phone.refused, 0, 'all that came was authentic');
  await quiet(phone);
  call.send('BYE');
  await call.response('BYE');
  await eventually(
    async () => phone.reports,
    (reports) => reports > 0,
  );
  assert.ok(phone.reports > 0, 'RTCP is encrypted too, BYE at least');
  phone.close();
  await silence;
  return [theirs, phone.inline];
}

/** The shapes in which a key may show up where it should not. */
function shapesOf(inline: string): string[] {
  const bytes = Buffer.from(inline, 'base64');
  return [
    inline,
    bytes.toString('hex'),
    bytes.toString('latin1'),
    [...bytes.subarray(0, 6)].join(', '),
    bytes.subarray(0, 8).toString('hex').replaceAll(/../g, '$& ').trim(),
  ];
}

test('SRTP required', async (t) => {
  const lines: string[] = [];
  const env = { CALLYARD_SRTP: 'required', CALLYARD_CODECS: 'PCMU' };
  const server = await startTestApp(t, env, { script: SCRIPT, log: capturingLog(lines) });
  const known = new Set<string>();
  await t.test(
    'what is refused, with the reason in a Warning; a wrong key is heard by nobody',
    (u) => refusals(u, server, known, lines),
  );
  await t.test(
    'a call under each suite converses, and its keys are nowhere to be found',
    async (u) => {
      const suites = ['AES_CM_128_HMAC_SHA1_80', 'AEAD_AES_128_GCM'] as const;
      const keys = (await Promise.all(suites.map((suite) => converse(u, server, suite)))).flat();
      const records = await endsOf(server, known, 2);
      const wanted = ['Hello.', 'I want to cancel my order.', 'It is cancelled.'];
      assert.deepEqual(
        records.map(({ messages }) => messages.map(({ content }) => content)),
        [wanted, wanted],
      );
      const clear = lines.filter((line) => line.startsWith('srtp.keysInClear'));
      assert.equal(clear.length, 1, 'keys over UDP are warned about');
      await server.app.stop(0);
      const dump = await dumpOf(server.databaseUrl);
      const files = readdirSync(server.dataDir, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'latin1'));
      for (const shape of keys.flatMap(shapesOf))
        for (const text of [lines.join('\n'), dump, ...files])
          assert.equal(text.includes(shape), false);
    },
  );
});

test('an outbound call: keys beside plain RTP, taken or not', async (t) => {
  const peer = await SipPeer.open({ address: '127.0.0.1', port: 9 });
  atEnd(t, () => peer.close());
  const trunk = `sip:127.0.0.1:${peer.port};transport=udp`;
  const env = { CALLYARD_TRUNK: trunk, CALLYARD_SRTP: 'preferred', CALLYARD_CODECS: 'PCMU' };
  const server = await startTestApp(t, env, { script: SCRIPT });
  peer.aim(server.sip);
  const ring = async (): Promise<PeerMessage> => {
    const placed = await server.post('/api/call/initiate', { phone_number: '+15550142' });
    assert.equal(placed.status, 201, JSON.stringify(placed.data));
    const invite = await peer.invite();
    assert.match(invite.body, /m=audio \d+ RTP\/AVP 0 101\r\n/);
    assert.equal(invite.body.match(/^a=crypto:/gm)?.length, 2);
    return invite;
  };
  const phone = await SrtpPhone.open('AES_CM_128_HMAC_SHA1_80');
  atEnd(t, () => phone.close());
  const invite = await ring();
  const offered = keyIn(invite.body, phone.suite);
  phone.agree(offered);
  peer.respond(invite, '200 OK', { toTag: 'one', body: sdpOf(phone, 'RTP/AVP', 1) });
  await peer.next('ACK', (message) => message.method === 'ACK');
  const port = mediaPort(invite.body);
  await phone.play(new Int16Array(1600), port);
  await hear(phone, 0, 5);
  assert.equal(phone.refused, 0);

  const plain = await SrtpPhone.open('AES_CM_128_HMAC_SHA1_80');
  atEnd(t, () => plain.close());
  const second = await ring();
  assert.notEqual(keyIn(second.body, phone.suite), offered, 'every call has its own key');
  peer.respond(second, '200 OK', { toTag: 'two', body: sdpOf(plain, 'RTP/AVP', 1, false) });
  await peer.next('ACK', (one) => one.method === 'ACK' && header(one, 'to').includes('two'));
  await eventually(
    async () => plain.refused,
    (count) => count > 10,
  );
  assert.ok(plain.refused > 10, 'without a key there is plain RTP');
});
