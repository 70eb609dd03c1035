/** A phone call whose agent hears and speaks through Aliyun: its token is the one that clients are given. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '#lib/clock.ts';
import { startSimNls } from '#providers/sim/aliyun-nls.ts';
import { encodeUtteranceId } from '#lib/utterance-tones.ts';
import { placeCall } from '#src/demo/phone.ts';
import { until, WORDS } from './_aliyun-nls.ts';
import { ADMIN_KEY, eventually, SCRIPT, startTestApp } from './_app.ts';
import { startFakeAliyun } from './_fake-aliyun.ts';
import { atEnd } from './_store.ts';

test('a call is heard and answered through Aliyun, with the token of the one cache', async (t) => {
  const vendor = await startFakeAliyun(t);
  vendor.keys.set('call-key-id', 'call-secret');
  const tokens = { has: (token: string) => vendor.tokens.includes(token) };
  const projects = { phone: { rateHz: 8000 as const } };
  const nls = await startSimNls({ clock: systemClock, tokens, projects, words: WORDS });
  atEnd(t, () => nls.close());
  const env = { CALLYARD_ALIYUN_META_URL: vendor.url, CALLYARD_ALIYUN_NLS_URL: nls.url };
  const script = { ...SCRIPT, greeting: 'Hello there.' };
  const server = await startTestApp(t, env, { script });
  const keys = { access_key_id: 'call-key-id', access_key_secret: 'call-secret' };
  await server.post('/api/v1/aliyun/config', { ...keys, app_key: 'phone' });
  const token = await server.post<{ token: string }>('/api/v1/aliyun/token', {});
  const made = await server.post<{ id: string }>('/api/v1/agents', {
    ...{ name: 'By phone', system_prompt: 'Be brief.', language: 'en', greeting: 'Hello there.' },
    ...{ stt: { vendor: 'aliyun' }, llm: { vendor: 'sim' } },
    tts: { vendor: 'aliyun', voice: 'longxiaochun', speed: 1.2 },
  });
  assert.equal(made.status, 201, JSON.stringify(made.data));
  await bind(server.app.httpUrl, made.data.id);

  const phone = await placeCall({ target: server.target });
  await phone.hearSpeech(0, 5_000);
  await phone.hearSilence(15_000);
  const { lastMs } = await phone.say(encodeUtteranceId(1));
  await phone.hearSpeech(lastMs, 5_000);
  await phone.hearSilence(8_000);
  await phone.hangUp();
  type Records = { records: { id: string; status: string }[] };
  const list = await eventually(
    () => server.get<Records>('/api/v1/call-records'),
    ({ data }) => data.records[0]?.status === 'ended',
  );
  const { data } = await server.get<{ messages: { role: string; content: string }[] }>(
    `/api/v1/call-records/${list.data.records[0]?.id ?? ''}`,
  );
  assert.deepEqual(
    data.messages.map(({ content }) => content),
    ['Hello there.', 'I want to cancel my order.', 'Your order is cancelled.'],
  );
  assert.equal(vendor.requests, 1, 'one token for the client and for the call');
  assert.deepEqual(new Set(nls.offered), new Set([token.data.token]));
  const speech = nls.messages.find(({ header }) => header['name'] === 'StartSynthesis');
  assert.deepEqual(
    [speech?.payload['voice'], speech?.payload['speech_rate']],
    ['longxiaochun', 167],
  );
  assert.deepEqual(nls.violations, []);
  await server.app.stop(0);
  await until('all sockets at the vendor are closed', () => nls.server.open === 0);
});

/** All calls go to this agent. */
async function bind(httpUrl: string, agentId: string): Promise<void> {
  const response = await fetch(`${httpUrl}/api/v1/agent-bindings`, {
    method: 'PUT',
    headers: { authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'application/json' },
    body: JSON.stringify({ kind: 'default', agent_id: agentId }),
  });
  assert.equal(response.status, 200, await response.text());
}
