/** Whole calls through the whole server, over real SIP and RTP on the loopback, with the scripted vendor. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { Message } from '#lib/call-events.ts';
import { encodeUtteranceId } from '#lib/utterance-tones.ts';
import { placeCall, type PhoneCall } from '#src/demo/phone.ts';
import { eventually, SCRIPT, startTestApp, type TestApp } from './_app.ts';
import { header, SDP, SipPeer } from './_sip-peer.ts';
import { atEnd } from './_store.ts';

type Record = {
  id: string;
  status: string;
  outcome: string;
  hangup_reason: string | null;
  ended_by: string;
  duration_seconds: number;
  answer_time: string;
  messages: Message[];
  recording_status: string;
  recording: { duration_ms: number; url: string } | null;
  latency: { turns: number } | null;
  sip_status: number | null;
};

/** Tones with the utterance's number, then something with the level of speech for `speechMs`. */
function utterance(id: number, speechMs = 600): Int16Array {
  const code = encodeUtteranceId(id);
  const pcm = new Int16Array(code.length + speechMs * 8);
  pcm.set(code);
  for (let i = code.length; i < pcm.length; i++) {
    const envelope = 0.6 + 0.4 * Math.sin((2 * Math.PI * 4 * i) / 8000);
    const voice =
      Math.sin((2 * Math.PI * 180 * i) / 8000) + 0.5 * Math.sin((2 * Math.PI * 720 * i) / 8000);
    pcm[i] = 6000 * envelope * voice;
  }
  return pcm;
}

async function dial(t: TestContext, server: TestApp): Promise<PhoneCall> {
  const phone = await placeCall({ target: server.target });
  atEnd(t, () => phone.hangUp());
  return phone;
}

async function recordOf(server: TestApp): Promise<Record> {
  const list = await eventually(
    () => server.get<{ records: { id: string; status: string }[] }>('/api/v1/call-records'),
    ({ data }) =>
      data.records[0] !== undefined && ['ended', 'failed'].includes(data.records[0].status),
  );
  const id = list.data.records[0]?.id ?? 'none';
  const { data } = await eventually(
    () => server.get<Record>(`/api/v1/call-records/${id}`),
    (answer) => answer.data.recording_status !== 'active',
  );
  return data;
}

const words = (record: { messages: readonly Message[] }): string[] =>
  record.messages.map((message) => `${message.role}: ${message.content}`);

test('a call is greeted, heard, answered, hung up, recorded and kept', async (t) => {
  const server = await startTestApp(t, { CALLYARD_TTS_VENDOR: 'sim' });
  const phone = await dial(t, server);
  await phone.hearSpeech(0, 1000);
  await phone.hearSilence(15_000);
  const { lastMs } = await phone.say(utterance(1));
  await phone.hearSpeech(lastMs, 4000);
  await phone.hearSilence(8000);
  await phone.hangUp();
  const record = await recordOf(server);
  assert.deepEqual(words(record), [
    `assistant: ${SCRIPT.greeting}`,
    'user: I want to cancel my order.',
    'assistant: Your order is cancelled.',
  ]);
  assert.deepEqual(
    [record.outcome, record.hangup_reason, record.ended_by, record.status],
    ['completed', 'user', 'caller', 'ended'],
  );
  assert.equal(record.latency?.turns, 1);
  assert.equal(record.recording_status, 'ready');
  assert.ok(Math.abs((record.recording?.duration_ms ?? 0) - record.duration_seconds * 1000) < 1000);
  const wav = await fetch(server.app.httpUrl + (record.recording?.url ?? ''), {
    headers: { authorization: `Bearer cy_testkey1_${'A'.repeat(43)}` },
  });
  assert.equal(wav.headers.get('content-type'), 'audio/wav');
  const bytes = Buffer.from(await wav.arrayBuffer());
  assert.equal(bytes.readUInt32LE(40), bytes.length - 44);
});

test('an interrupted greeting is cut to what was heard', async (t) => {
  const server = await startTestApp(t);
  const phone = await dial(t, server);
  await phone.hearSpeech(0, 1000);
  await phone.say(new Int16Array(8 * 1200)); // a caller who listens
  const { lastMs } = await phone.say(utterance(2, 900));
  await phone.hearSpeech(lastMs, 4000);
  await phone.hearSilence(8000);
  await phone.hangUp();
  const record = await recordOf(server);
  const [greeting, ...rest] = record.messages;
  assert.ok(greeting !== undefined && greeting.interrupted === true);
  assert.ok(greeting.content !== '' && SCRIPT.greeting.startsWith(greeting.content));
  assert.ok(greeting.content.length < SCRIPT.greeting.length);
  assert.deepEqual(words({ messages: rest }), ['user: Stop please.', 'assistant: I have stopped.']);
});

test('INVITEs that cannot be answered get the right refusal and leave nothing', async (t) => {
  const server = await startTestApp(t);
  const peer = await SipPeer.open(server.sip);
  t.after(() => peer.close());
  const sdpType = 'Content-Type: application/sdp';
  const rows: [name: string, options: Parameters<SipPeer['start']>[1], status: number][] = [
    [
      'unknown codecs',
      {
        body: SDP(40_000, 'm=audio 40000 RTP/AVP 99\r\na=rtpmap:99 unheard/8000'),
        extra: [sdpType],
      },
      488,
    ],
    ['garbage body', { body: 'v=garbage\r\nnothing here', extra: [sdpType] }, 400],
    ['not an SDP', { body: '<x/>', extra: ['Content-Type: text/xml'] }, 415],
    ['no Contact', { body: SDP(), extra: [sdpType], without: 'contact' }, 400],
  ];
  for (const [name, options, status] of rows) {
    const call = peer.start('INVITE', options);
    const refusal = await call.response('INVITE');
    assert.equal(refusal.status, status, name);
    call.ackRefusal(refusal);
  }
  assert.equal(server.app.liveCalls(), 0);
});

test('an INVITE without SDP is offered ours and becomes a call', async (t) => {
  const server = await startTestApp(t);
  const peer = await SipPeer.open(server.sip);
  t.after(() => peer.close());
  const call = peer.start('INVITE');
  const answer = await call.response('INVITE');
  assert.equal(answer.status, 200);
  assert.match(answer.body, /m=audio \d+ RTP\/AVP 8 0/);
  call.confirm(answer).ack(SDP());
  call.send('BYE');
  assert.equal((await call.response('BYE')).status, 200);
  const record = await recordOf(server);
  assert.equal(record.outcome, 'completed');
});

test('CANCEL before the answer, or in a race with it, leaves no orphan', async (t) => {
  const server = await startTestApp(t);
  const peer = await SipPeer.open(server.sip);
  t.after(() => peer.close());
  const call = peer.start('INVITE', { body: SDP(), extra: ['Content-Type: application/sdp'] });
  call.cancel();
  const end = await call.response('INVITE');
  if (end.status === 200) call.confirm(end).ack();
  else call.ackRefusal(end);
  if (end.status === 200) {
    call.send('BYE');
    await call.response('BYE');
  }
  const record = await recordOf(server);
  assert.ok(['abandoned', 'completed'].includes(record.outcome), record.outcome);
  assert.equal(server.app.liveCalls(), 0);
});

test('the API: one call everywhere, hang-up, what is unknown', async (t) => {
  const server = await startTestApp(t);
  const phone = await dial(t, server);
  await phone.hearSpeech(0, 1000);
  const list = await eventually(
    () => server.get<{ records: { id: string; status: string }[] }>('/api/v1/call-records'),
    ({ data }) => data.records.length > 0,
  );
  const id = list.data.records[0]?.id ?? '';
  const live = await server.get<{ status: string; answer_time: string }>(`/api/call/${id}`);
  assert.equal(live.data.status, 'answered');
  const ended = await server.post<{ status: string }>(`/api/call/${id}/terminate`, {
    reason: 'test',
  });
  assert.deepEqual([ended.status, ended.data.status], [200, 'ended']);
  await eventually(
    () => Promise.resolve(phone.sip.isOver),
    (isOver) => isOver,
  );
  assert.ok(phone.sip.isOver, 'the phone got its BYE');
  const talk = await server.get<{ status: string; messages: Message[] }>(
    `/api/call/${id}/conversation`,
  );
  assert.equal(talk.data.status, 'completed');
  const record = await recordOf(server);
  assert.deepEqual(
    [record.outcome, record.hangup_reason, record.ended_by],
    ['completed', 'ai', 'api'],
  );
  const unknown = await server.get<{ error: { code: string } }>(
    '/api/call/00000000-0000-4000-8000-00000000dead',
  );
  assert.deepEqual([unknown.status, unknown.data.error.code], [404, 'NOT_FOUND']);
  const web = await server.post<{ error: { code: string } }>('/api/call/initiate', {
    phone_number: '+15550100',
    ...{ media: 'websocket', agent_id: '00000000-0000-4000-8000-00000000dead' },
  });
  assert.deepEqual([web.status, web.data.error.code], [422, 'REFERENCE_NOT_FOUND']);
  const noTrunk = await server.post<{ error: { code: string } }>('/api/call/initiate', {
    phone_number: '+15550100',
  });
  assert.deepEqual([noTrunk.status, noTrunk.data.error.code], [422, 'NO_ROUTE']);
});

test('an outbound call over the environment trunk', async (t) => {
  const carrier = await SipPeer.open({ address: '127.0.0.1', port: 9 });
  t.after(() => carrier.close());
  const server = await startTestApp(t, {
    CALLYARD_TRUNK: `sip:127.0.0.1:${carrier.port};transport=udp`,
    CALLYARD_TRUNK_USER: 'node',
    CALLYARD_RECORDING: 'off',
  });
  const placed = await server.post<{ call_id: string; status: string }>('/api/call/initiate', {
    phone_number: '+1 (555) 0100',
  });
  assert.deepEqual([placed.status, placed.data.status], [201, 'connecting']);
  carrier.aim(server.sip);
  const invite = await carrier.invite();
  assert.match(invite.startLine, /^INVITE sip:\+15550100@127\.0\.0\.1/);
  carrier.respond(invite, '486 Busy Here', { toTag: 'b' });
  const record = await recordOf(server);
  assert.deepEqual(
    [record.outcome, record.status, record.hangup_reason, record.sip_status],
    ['busy', 'failed', 'error', 486],
  );
});

test('a stop lets live calls finish, refuses new ones, then says BYE', async (t) => {
  const server = await startTestApp(t);
  const phone = await dial(t, server);
  await phone.hearSpeech(0, 1000);
  const peer = await SipPeer.open(server.sip);
  t.after(() => peer.close());
  const hurry = new AbortController();
  const stopped = server.app.stop(60_000, hurry.signal);
  const call = peer.start('INVITE', { body: SDP(), extra: ['Content-Type: application/sdp'] });
  const refusal = await call.response('INVITE');
  assert.equal(refusal.status, 503);
  assert.ok(header(refusal, 'retry-after') !== '');
  call.ackRefusal(refusal);
  assert.ok(!phone.sip.isOver, 'the live call goes on');
  hurry.abort();
  await stopped;
  assert.ok(phone.sip.isOver, 'then it gets its BYE');
  const again = await startTestApp(
    t,
    {},
    { dataDir: server.dataDir, databaseUrl: server.databaseUrl },
  );
  const record = await recordOf(again);
  assert.deepEqual(
    [record.outcome, record.ended_by, record.recording_status],
    ['completed', 'system', 'ready'],
  );
});
