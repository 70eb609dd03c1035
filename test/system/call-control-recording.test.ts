/** Recording by command, commands in every state of a call and from every family, and without the database. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';

import { ADMIN_KEY, eventually, freshDatabase, startTestApp, type TestApp } from './_app.ts';
import { queryRows } from './_database.ts';
import { hasSound, isSilent, LivePhone, pause } from './_control-kit.ts';
import { header, SDP, SipPeer } from './_sip-peer.ts';
import { atEnd } from './_store.ts';
import { startProxy } from './_tcp-proxy.ts';

type Row = Record<string, unknown>;

const SCRIPT = { greeting: 'Welcome to the line.', defaultReply: 'I see.' };
const NOTICE = 'This call is recorded from now on.';

function sql(url: string, text: string, values: unknown[] = []): Promise<Row[]> {
  return queryRows<Row>(`${url}?options=-c%20role%3Dcallyard_system`, text, values);
}

/** The right channel of the call's recording: what the agent said. */
async function agentSide(server: TestApp, id: string): Promise<Int16Array> {
  const url = `${server.app.httpUrl}/api/v1/call-records/${id}/recording`;
  const response = await fetch(url, { headers: { authorization: `Bearer ${ADMIN_KEY}` } });
  assert.equal(response.status, 200);
  const wav = Buffer.from(await response.arrayBuffer());
  const pcm = new Int16Array((wav.length - 44) >> 2);
  for (let i = 0; i < pcm.length; i++) pcm[i] = wav.readInt16LE(44 + i * 4 + 2);
  return pcm;
}

const lines = (messages: readonly { role: string; content: string }[]): string[] =>
  messages.filter(({ role }) => role === 'system').map(({ content }) => content);

/** The first file is complete; the second is being written, and paused. */
async function playsRecordings(server: TestApp, phone: LivePhone): Promise<void> {
  const [first, second] = await eventually(
    () => sql(server.databaseUrl, 'SELECT id, status FROM recordings ORDER BY started_at'),
    (rows) => rows[0]?.['status'] === 'ready' && rows[1]?.['status'] === 'active',
  );
  const refused = await phone.command('play', { recording_id: second?.['id'] });
  assert.equal((refused.body['error'] as { code: string }).code, 'CALL_LIVE');
  const from = phone.now;
  const { duration_ms: durationMs } = await phone.done('play', { recording_id: first?.['id'] });
  assert.ok((durationMs as number) > 200);
  await pause((durationMs as number) + 500);
  assert.ok(!isSilent(phone.since(from)), 'it is heard');
  await phone.quiet();
}

test('recording by command: two files, and what was paused is in neither', async (t) => {
  const server = await startTestApp(t, { CALLYARD_RECORDING: 'false' }, { script: SCRIPT });
  const phone = await LivePhone.dial(t, server);
  await phone.hears('Welcome to the line.');
  await phone.quiet();
  const record = (action: string) => phone.done('recording', { action });
  const none = await phone.command('recording', { action: 'pause' });
  assert.equal(none.status, 409);
  assert.deepEqual(await record('stop'), { recording_status: 'none' });
  assert.deepEqual(await record('start'), { recording_status: 'active' });
  assert.deepEqual(await record('start'), { recording_status: 'active' }, 'started is started');
  await phone.done('say', { text: 'First file.' });
  await phone.hears('First file.');
  assert.deepEqual(await record('stop'), { recording_status: 'ready' });
  assert.deepEqual(await record('start'), { recording_status: 'active' });
  await phone.done('say', { text: 'Your name is noted.' });
  await phone.hears('Your name is noted.');
  await phone.quiet();
  assert.deepEqual(await record('pause'), { recording_status: 'active' });
  await playsRecordings(server, phone);
  await phone.done('say', { text: 'Your card ends with four two.' });
  await phone.hears('Your card ends with four two.');
  await phone.quiet();
  assert.deepEqual(await record('resume'), { recording_status: 'active' });
  await phone.done('say', { text: 'Thank you goodbye.' });
  await phone.hears('Thank you goodbye.');
  await phone.quiet();
  assert.deepEqual(lines(await phone.messages()), [
    ...['[Recording started]', '[Recording stopped]', '[Recording started]'],
    ...['[Recording paused]', '[Recording resumed]'],
  ]);
  await phone.hangUp();
  const rows = await eventually(
    () => sql(server.databaseUrl, 'SELECT * FROM recordings ORDER BY started_at'),
    (found) => found.length === 2 && found.every((row) => row['status'] === 'ready'),
  );
  assert.equal(rows.length, 2);
  const { data } = await eventually(
    () => server.get<{ recording: { id: string } | null }>(`/api/v1/call-records/${phone.id}`),
    (answer) => answer.data.recording !== null,
  );
  assert.equal(data.recording?.id, rows[1]?.['id'], 'the latest is the record’s');
  const heard = await agentSide(server, phone.id);
  assert.deepEqual(
    [
      'Your name is noted.',
      'Thank you goodbye.',
      'Your card ends with four two.',
      'First file.',
    ].map((text) => hasSound(text, heard)),
    [true, true, false, false],
  );
  const events = await sql(
    server.databaseUrl,
    "SELECT type FROM call_events WHERE type IN ('call.ended', 'recording.ready') ORDER BY seq",
  );
  const types = events.map((row) => row['type']);
  assert.deepEqual(types, ['call.ended', 'recording.ready', 'recording.ready']);
  const audited = await sql(
    server.databaseUrl,
    "SELECT action FROM audit_log WHERE action LIKE 'recording.%' AND target_id = $1 ORDER BY id",
    [phone.id],
  );
  const actions = audited.map((row) => row['action']);
  for (const action of ['start', 'pause', 'resume', 'stop', 'play'])
    assert.ok(actions.includes(`recording.${action}`), action);
});

test('the notice comes first; without a consent that is needed nothing is recorded', async (t) => {
  const server = await startTestApp(t, { CALLYARD_RECORDING: 'false' }, { script: SCRIPT });
  await sql(server.databaseUrl, 'UPDATE account_settings SET recording_notice = $1', [NOTICE]);
  await pause(1100);
  const phone = await LivePhone.dial(t, server);
  await phone.hears('Welcome to the line.');
  await phone.quiet();
  const from = phone.now;
  assert.deepEqual(await phone.done('recording', { action: 'start' }), {
    recording_status: 'none',
  });
  await phone.done('say', { text: 'Over and out.', interrupt: true });
  const notice = await phone.hears(NOTICE, from);
  assert.ok((await phone.hears('Over and out.', from)) > notice, 'nothing cuts the notice');
  await phone.quiet();
  await phone.hangUp();
  const [row] = await eventually(
    () => sql(server.databaseUrl, 'SELECT * FROM recordings'),
    (found) => found[0]?.['status'] === 'ready',
  );
  assert.ok(row?.['notice_at'] instanceof Date);
  assert.deepEqual(row['notice_at'], row['started_at']);
  const heard = await eventually(
    () => server.get<{ recording: object | null }>(`/api/v1/call-records/${phone.id}`),
    ({ data }) => data.recording !== null,
  ).then(() => agentSide(server, phone.id));
  assert.deepEqual([hasSound('Over and out.', heard), hasSound(NOTICE, heard)], [true, false]);

  await sql(server.databaseUrl, 'UPDATE account_settings SET require_consent = true');
  await pause(1100);
  const shy = await LivePhone.dial(t, server);
  await shy.hears('Welcome to the line.');
  const refused = await shy.command('recording', { action: 'start' });
  assert.equal(refused.status, 422);
  assert.equal((refused.body['error'] as { code: string }).code, 'CONSENT_MISSING');
});

test('without the database every command works, and the audit rows follow', async (t) => {
  const databaseUrl = await freshDatabase(t);
  const proxy = await startProxy(databaseUrl);
  atEnd(t, () => proxy.close());
  const given = { databaseUrl: proxy.url, script: SCRIPT };
  const server = await startTestApp(t, { CALLYARD_RECORDING: 'false' }, given);
  const phone = await LivePhone.dial(t, server);
  await phone.hears('Welcome to the line.');
  await phone.quiet();
  proxy.cut();
  const from = phone.now;
  await phone.done('recording', { action: 'start' });
  await phone.done('say', { text: 'Still here.' });
  await phone.hears('Still here.', from);
  await phone.done('message', { text: 'Be kind.' });
  await phone.done('mute', { side: 'agent', on: true });
  await phone.done('mute', { side: 'agent', on: false });
  await phone.done('dtmf', { digits: '9' });
  const held = phone.done('hold', { on: true });
  await phone.answerOffer('recvonly');
  await held;
  const back = phone.done('hold', { on: false });
  await phone.answerOffer('sendrecv');
  await back;
  await phone.done('recording', { action: 'stop' });
  const ended = await phone.command('hangup', { reason: 'Out of hours' });
  assert.equal(ended.status, 200);
  const bye = await phone.sip.request('BYE');
  phone.peer.respond(bye, '200 OK');
  assert.match(header(bye, 'reason'), /text="Out of hours"/);
  proxy.restore();
  const rows = await eventually(
    () =>
      sql(
        databaseUrl,
        "SELECT action, changes FROM audit_log WHERE action LIKE 'recording.%' ORDER BY id",
      ),
    (found) => found.length === 2,
  );
  assert.deepEqual(
    rows.map((row) => row['action']),
    ['recording.start', 'recording.stop'],
  );
  const [first] = rows;
  assert.ok(
    first !== undefined && 'acted_at' in (first['changes'] as object),
    'it says when it was',
  );
  const stored = await eventually(
    () => sql(databaseUrl, 'SELECT recording_status, outcome FROM call_records'),
    (found) => found[0]?.['recording_status'] === 'ready',
  );
  assert.deepEqual(stored, [{ recording_status: 'ready', outcome: 'completed' }]);
});

const COMMANDS: readonly [name: string, body: object][] = [
  ['play', { url: 'https://example.com/a.wav' }],
  ['say', { text: 'Hello' }],
  ['dtmf', { digits: '1' }],
  ['hold', { on: true }],
  ['mute', { side: 'caller', on: true }],
  ['message', { text: 'Hello' }],
  ['recording', { action: 'start' }],
];

async function refusalsOf(server: TestApp, id: string): Promise<string[]> {
  const codes: string[] = [];
  for (const [name, body] of COMMANDS) {
    const path = `/v1/phone/calls/${id}/${name}`;
    const answer = await server.post<{ error: { code: string } }>(path, body);
    codes.push(`${answer.status} ${answer.data.error.code}`);
  }
  return [...new Set(codes)];
}

test('before the answer, after the end, for nobody’s call; hang-up in every family', async (t: TestContext) => {
  const trunk = await SipPeer.open({ address: '127.0.0.1', port: 9 });
  atEnd(t, () => trunk.close());
  const server = await startTestApp(
    t,
    { CALLYARD_TRUNK: `sip:127.0.0.1:${trunk.port};transport=udp` },
    { script: SCRIPT },
  );
  trunk.aim(server.sip);
  const families: readonly [path: (id: string) => string, body: (id: string) => object][] = [
    [(id) => `/v1/phone/calls/${id}/hangup`, () => ({ reason: 'Changed my mind' })],
    [(id) => `/api/call/${id}/terminate`, () => ({})],
    [() => '/api/call-center/call/hangup', (callId) => ({ callId })],
  ];
  for (const [path, body] of families) {
    const placed = await server.post<{ id: string }>('/v1/phone/calls', { to: '+15550123' });
    const { id } = placed.data;
    const invite = await trunk.invite();
    trunk.respond(invite, '180 Ringing', { toTag: 'r' });
    await eventually(
      () => server.get<{ status: string }>(`/v1/phone/calls/${id}`),
      ({ data }) => data.status === 'ringing',
    );
    assert.deepEqual(await refusalsOf(server, id), ['409 CALL_NOT_ANSWERED']);
    const hangup = server.post(path(id), body(id));
    const cancel = await trunk.next('CANCEL', ({ method }) => method === 'CANCEL');
    trunk.respond(cancel, '200 OK');
    trunk.respond(invite, '487 Request Terminated', { toTag: 'r' });
    assert.equal((await hangup).status, 200);
    assert.deepEqual(await refusalsOf(server, id), ['409 CALL_NOT_ACTIVE']);
    assert.equal((await server.post(path(id), body(id))).status, 200, 'over is over');
  }
  const placed = await server.post<{ call_id: string }>('/api/call/initiate', {
    phone_number: '+15550124',
  });
  const invite = await trunk.invite();
  trunk.respond(invite, '200 OK', {
    toTag: 'a',
    body: SDP(40_404, 'm=audio 40000 RTP/AVP 8 101'),
  });
  const id = placed.data.call_id;
  await eventually(
    () => server.get<{ status: string }>(`/v1/phone/calls/${id}`),
    ({ data }) => data.status === 'answered',
  );
  const said = await server.post<{ turn: number }>(`/v1/phone/calls/${id}/say`, { text: 'Hello' });
  assert.equal(said.status, 200, 'a call of another family is the same call');
  const ended = server.post('/api/call-center/call/hangup', { callId: id });
  trunk.respond(await trunk.next('BYE', ({ method }) => method === 'BYE'), '200 OK');
  assert.equal((await ended).status, 200);
  const stranger = '00000000-0000-4000-8000-00000000dead';
  assert.deepEqual(await refusalsOf(server, stranger), ['404 NOT_FOUND']);
});
