/** Metrics (contract 2.9): what is counted, who may read it, the alert rules, and the page of the API. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { docsPage } from '#api/docs-page.ts';
import type { CallEvent, EventData, EventType, JournalEntry } from '#lib/call-events.ts';
import { SimulatedClock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import { CallMetrics, createMetrics, RollingMedian } from '#lib/metrics.ts';
import type { LlmProvider, ProviderSet, SttEvent, TtsProvider } from '#providers/contract.ts';
import { ProviderHealth } from '#providers/health.ts';
import { ACCOUNT, AGENT, LIVE, makeApi, makeFakes } from './_api-fakes.ts';

const rulesText = readFileSync(
  new URL('../../config/prometheus-alerts.yml', import.meta.url),
  'utf8',
);

function entry<T extends EventType>(
  type: T,
  data: Partial<EventData[T]>,
  callId = LIVE,
): JournalEntry {
  const event = {
    ...{ id: callId, type, time: '2026-01-01T00:00:00.000Z', account_id: ACCOUNT, call_id: callId },
    ...{ seq: 1, node: 'n', request_id: null, data },
  };
  return { event: event as unknown as CallEvent, record: null, recording: null };
}

test('the journal is counted: calls, outcomes, turns, barge-in, quality', async () => {
  const metrics = createMetrics({ outboxPending: () => 7 });
  const counted = new CallMetrics(metrics);
  const quality = { mos: 4.2 } as EventData['call.ended']['quality'];
  const entries = [
    entry('call.initiated', { direction: 'inbound', from: '+15550100' }),
    entry('call.initiated', { direction: 'inbound' }), // told again
    entry('call.initiated', { direction: 'outbound' }, AGENT),
    entry('call.initiated', { direction: 'outbound' }, ACCOUNT),
    entry('ai-response', { latency_ms: null }),
    entry('ai-response', { latency_ms: 600 }),
    entry('user-interrupted', { reaction_ms: 70 }),
    entry('call.ended', { outcome: 'completed', quality }),
    entry('call.ended', { outcome: 'completed', quality: null }), // of a call that is over: not ours any more
    entry('call.failed', { outcome: 'busy' }, AGENT),
  ];
  for (const each of entries) counted.note(each);
  const text = await metrics.registry.metrics();
  for (const line of [
    'callyard_active_calls{direction="inbound"} 0',
    'callyard_active_calls{direction="outbound"} 1',
    'callyard_calls_total{direction="inbound",outcome="completed"} 1',
    'callyard_calls_total{direction="outbound",outcome="busy"} 1',
    'callyard_mouth_to_ear_seconds_sum 0.6',
    'callyard_mouth_to_ear_seconds_count 1',
    'callyard_barge_in_seconds_sum 0.07',
    'callyard_mos_sum 4.2',
    'callyard_outbox_pending 7',
    'callyard_rtp_lost_total 0',
  ]) {
    assert.ok(text.split('\n').includes(line), `${line}\n${text}`);
  }
  counted.note(entry('call.timeout', { outcome: 'no_answer' }, ACCOUNT));
  const after = await metrics.registry.metrics();
  assert.match(after, /callyard_active_calls\{direction="outbound"\} 0/);
  assert.doesNotMatch(after, /15550100|1111-4111/, 'no number and no account in a label');
});

test('requests are counted by the pattern of their route, strangers’ paths as one', async () => {
  const fakes = makeFakes();
  const app = await makeApi(fakes);
  const headers = { authorization: `Bearer ${fakes.addKey()}` };
  for (const url of [
    `/v1/phone/calls/${LIVE}`,
    '/v1/phone/calls/not-an-id',
    '/v1/phone/calls?status=bad',
    '/wp-login.php',
    '/.env',
    '/health',
  ]) {
    await app.inject({ url, headers });
  }
  const page = await app.inject('/metrics');
  assert.match(String(page.headers['content-type']), /^text\/plain/);
  for (const line of [
    'http_requests_total{method="GET",route="/v1/phone/calls/:id",status="200"} 1',
    'http_requests_total{method="GET",route="/v1/phone/calls/:id",status="400"} 1',
    'http_requests_total{method="GET",route="/v1/phone/calls",status="400"} 1',
    'http_requests_total{method="GET",route="unknown",status="404"} 2',
    'http_requests_total{method="GET",route="/health",status="200"} 1',
    'http_request_duration_seconds_count{method="GET",route="/health"} 1',
  ]) {
    assert.ok(page.body.split('\n').includes(line), `${line}\n${page.body}`);
  }
  assert.doesNotMatch(page.body, /wp-login|not-an-id|6666-4666/);
  await app.close();
});

test('metrics are for this machine and for configured networks', async () => {
  const fakes = makeFakes();
  const app = await makeApi(fakes);
  const rows: [
    address: string,
    allow: string[],
    headers: Record<string, string>,
    status: number,
  ][] = [
    ['127.0.0.1', [], {}, 200],
    ['127.8.8.8', [], {}, 200],
    ['::1', [], {}, 200],
    ['::ffff:127.0.0.1', [], {}, 200],
    ['192.0.2.7', [], {}, 403],
    ['192.0.2.7', ['192.0.2.0/24'], {}, 200],
    ['198.51.100.7', ['192.0.2.0/24', '2001:db8::/32'], {}, 403],
    ['2001:db8::7', ['192.0.2.0/24', '2001:db8::/32'], {}, 200],
    ['127.0.0.1', [], { 'x-forwarded-for': '192.0.2.7' }, 403],
    ['127.0.0.1', ['127.0.0.0/8'], { 'x-forwarded-for': '192.0.2.7' }, 200],
    ['192.0.2.7', [], { 'x-forwarded-for': '127.0.0.1' }, 403],
  ];
  for (const [remoteAddress, allow, headers, status] of rows) {
    fakes.families.metricsAllow.splice(0, 10, ...allow);
    const answer = await app.inject({ url: '/metrics', remoteAddress, headers });
    assert.equal(answer.statusCode, status, `${remoteAddress} ${JSON.stringify(headers)}`);
    if (status === 403) assert.equal(answer.json().error.code, 'IP_NOT_ALLOWED');
  }
  await app.close();
});

/** The rules of the file: it is written plainly, so lines tell all there is. */
function rules(): { alert: string; expr: string; for: string; severity: string }[] {
  return rulesText
    .split(/^ {6}- alert: /m)
    .slice(1)
    .map((block) => ({
      alert: /^\w+/.exec(block)?.[0] ?? '',
      expr: (/^ {8}expr: (?:\|\n((?: {10}.*\n)+)|(.*))/m.exec(block)?.slice(1).find(Boolean) ?? '')
        .replace(/\s+/g, ' ')
        .trim(),
      for: /^ {8}for: (\w+)$/m.exec(block)?.[1] ?? '',
      severity: /^ {10}severity: (\w+)$/m.exec(block)?.[1] ?? '',
    }));
}

test('the alert rules: their fixed names, and every metric in them exists', async () => {
  const known = new Set<string>();
  for (const metric of await createMetrics({
    outboxPending: () => 0,
  }).registry.getMetricsAsJSON()) {
    const suffixes = String(metric.type) === 'histogram' ? ['_bucket', '_sum', '_count'] : [''];
    for (const suffix of suffixes) known.add(metric.name + suffix);
  }
  assert.deepEqual(
    rules().map((rule) => [rule.alert, rule.for, rule.severity]),
    [
      ['ServiceDown', '1m', 'critical'],
      ['APIHighLatency', '5m', 'warning'],
      ['HighErrorRate', '5m', 'critical'],
      ['HighConcurrentCalls', '5m', 'warning'],
      ['AIProviderError', '3m', 'critical'],
    ],
  );
  for (const { alert, expr } of rules()) {
    const names: string[] = expr.match(/\b(?:up|http_\w+|callyard_\w+)\b/g) ?? [];
    const own = names.filter((name) => name !== 'up');
    assert.ok(alert === 'ServiceDown' ? names.includes('up') : own.length > 0, alert);
    for (const name of own) assert.ok(known.has(name), `${alert}: ${name}`);
    const [open, close] = ['(', ')'].map((each) => expr.split(each).length);
    assert.equal(open, close, `${alert}: parentheses`);
  }
  assert.deepEqual(
    ['> 2', '> 0.05', '> 10000', '> 10'].map((limit, at) => rules()[at + 1]?.expr.endsWith(limit)),
    [true, true, true, true],
  );
});

test('every metric of the contract is registered', async () => {
  const names = (await createMetrics({ outboxPending: () => 0 }).registry.getMetricsAsJSON()).map(
    ({ name }) => name,
  );
  assert.deepEqual(names.sort(), [
    'callyard_active_calls',
    'callyard_ai_breakers_open',
    'callyard_ai_failovers_total',
    'callyard_ai_failures_total',
    'callyard_ai_rate_limit',
    'callyard_ai_requests_failed_total',
    'callyard_ai_requests_total',
    'callyard_barge_in_seconds',
    'callyard_calls_total',
    'callyard_far_mos',
    'callyard_jitter_buffer_seconds',
    'callyard_media_dropped_total',
    'callyard_media_worker_deaths_total',
    'callyard_media_workers',
    'callyard_mos',
    'callyard_mouth_to_ear_seconds',
    'callyard_outbox_pending',
    'callyard_quality_faults_total',
    'callyard_rtp_concealed_seconds_total',
    'callyard_rtp_jitter_seconds',
    'callyard_rtp_late_total',
    'callyard_rtp_lost_total',
    'callyard_rtp_round_trip_seconds',
    'callyard_silero_dropped_total',
    'callyard_silero_failures_total',
    'callyard_silero_frames_total',
    'callyard_turn_stage_seconds',
    'callyard_webhook_deliveries_total',
    'http_request_duration_seconds',
    'http_requests_total',
  ]);
});

test('a rolling median', () => {
  const median = new RollingMedian(3);
  assert.equal(median.value, null);
  const rows = [
    [5, 5],
    [1, 1],
    [9, 5],
    [10, 9],
    [11, 10],
  ] as const;
  for (const [value, expected] of rows) {
    median.add(value);
    assert.equal(median.value, expected);
  }
});

/** Providers that do what the test says, on a simulated clock. */
function watched(act: { fail: Error | null; delayMs: number }) {
  const clock = new SimulatedClock();
  const failed: string[] = [];
  const health = new ProviderHealth({
    clock,
    onFailed: (kind, vendor) => failed.push(`${kind} ${vendor}`),
  });
  const work = (): void => {
    clock.advance(act.delayMs);
    if (act.fail !== null) throw act.fail;
  };
  let tellStt: (event: SttEvent) => void = () => undefined;
  const llm: LlmProvider = {
    vendor: 'wise',
    greeting: (language) => `hello ${language}`,
    async *reply() {
      work();
      yield { type: 'text', text: 'a' };
      yield { type: 'text', text: 'b' };
      return { inputTokens: 1, outputTokens: 2 };
    },
    async complete() {
      work();
      return { text: 'c', model: 'm', usage: null };
    },
  };
  const tts: TtsProvider = {
    vendor: 'loud',
    async *speak() {
      work();
      yield { pcm: new Int16Array(1), marks: [] };
    },
  };
  const stt: ProviderSet['stt'] = {
    vendor: 'keen',
    reads: true,
    open: (options) => {
      tellStt = (event) => options.onEvent(event);
      const nothing = (): void => undefined;
      return { push: nothing, speechStarted: nothing, speechStopped: nothing, close: nothing };
    },
  };
  const set = health.watch({ stt, llm, tts } as ProviderSet);
  return { clock, failed, health, set, tellStt: (event: SttEvent) => tellStt(event) };
}

async function read(llm: LlmProvider): Promise<{ parts: string[]; usage: unknown }> {
  const signal = new AbortController().signal;
  const stream = llm.reply({} as Parameters<LlmProvider['reply']>[0], signal);
  const parts: string[] = [];
  for (;;) {
    const step = await stream.next();
    if (step.done === true) return { parts, usage: step.value };
    if (step.value.type === 'text') parts.push(step.value.text);
  }
}

test('providers are watched without being changed: times, failures, state', async () => {
  const act = { fail: null as Error | null, delayMs: 40 };
  const { clock, failed, health, set } = watched(act);
  assert.deepEqual(
    health.list().map((one) => [one.kind, one.vendor, one.state, one.p50Ms]),
    [
      ['stt', 'keen', 'up', null],
      ['llm', 'wise', 'up', null],
      ['tts', 'loud', 'up', null],
    ],
  );
  assert.equal(set.llm.greeting?.('en'), 'hello en');
  assert.deepEqual(await read(set.llm), {
    parts: ['a', 'b'],
    usage: { inputTokens: 1, outputTokens: 2 },
  });
  const llm = () => health.list().find((one) => one.kind === 'llm');
  assert.deepEqual([llm()?.state, llm()?.p50Ms], ['up', 40]);
  act.fail = new AppError('E_PROVIDER_SERVER', 'down');
  await assert.rejects(read(set.llm), { code: 'E_PROVIDER_SERVER' });
  assert.equal(llm()?.state, 'degraded');
  await assert.rejects(read(set.llm));
  await assert.rejects(read(set.llm));
  assert.equal(llm()?.state, 'down');
  assert.deepEqual(failed, ['llm wise', 'llm wise', 'llm wise']);
  act.fail = null;
  await read(set.llm);
  assert.equal(llm()?.state, 'degraded', 'back, and not yet trusted');
  clock.advance(5 * 60_000);
  assert.equal(llm()?.state, 'up', 'what is old says nothing about now');
  act.fail = new AppError('E_ABORTED', 'the caller went on');
  await assert.rejects(read(set.llm));
  assert.equal(failed.length, 3, 'given up by us is no failure');
  act.delayMs = 10_000;
  await assert.rejects(read(set.llm));
  assert.equal(failed.length, 4, 'unless we had waited in vain');
});

test('questions outside a conversation are watched too; their time is no first word’s', async () => {
  const act = { fail: null as Error | null, delayMs: 2_000 };
  const { failed, health, set } = watched(act);
  const ask = (): Promise<unknown> | undefined =>
    set.llm.complete?.({} as never, new AbortController().signal);
  assert.deepEqual(await ask(), { text: 'c', model: 'm', usage: null });
  const llm = () => health.list().find((one) => one.kind === 'llm');
  assert.deepEqual([llm()?.state, llm()?.p50Ms], ['up', null]);
  act.fail = new AppError('E_PROVIDER_SERVER', 'down');
  for (let i = 0; i < 3; i++) await assert.rejects(async () => ask());
  assert.deepEqual([llm()?.state, failed.length], ['down', 3]);
});

test('a watched stream that is left early is closed', async () => {
  const { set } = watched({ fail: null, delayMs: 0 });
  const signal = new AbortController().signal;
  const stream = set.llm.reply({} as Parameters<LlmProvider['reply']>[0], signal);
  await stream.next();
  assert.equal((await stream.return(undefined)).done, true);
  assert.equal((await stream.next()).done, true);
  const sound = set.tts.speak({ text: 'a', language: 'en' }, signal);
  await sound.next();
  assert.equal((await sound.return()).done, true);
});

test('a recogniser is timed from the end of speech; one that never answers has failed', () => {
  const { clock, failed, health, set, tellStt } = watched({ fail: null, delayMs: 0 });
  const events: SttEvent[] = [];
  const session = set.stt.open({
    callId: 'c',
    language: 'en',
    onEvent: (event) => events.push(event),
  });
  const audio = { pcm: new Int16Array(0), startMs: 0, endMs: 1 };
  const final: SttEvent = {
    ...{ type: 'final', text: 'hi', confidence: 1, startMs: 0, endMs: 1, language: 'en' },
  };
  session.speechStopped(audio);
  clock.advance(120);
  tellStt({ type: 'partial', text: 'h' });
  tellStt(final);
  tellStt(final); // without speech of ours: a vendor may cut one utterance in two
  const [stt] = health.list();
  assert.deepEqual([stt?.p50Ms, stt?.state, events.length], [120, 'up', 3]);
  session.speechStopped(audio);
  session.speechStopped(audio);
  assert.deepEqual(failed, ['stt keen'], 'the first was never read');
  tellStt({ type: 'error', error: new Error('gone') });
  tellStt({ type: 'error', error: new Error('still gone') });
  assert.equal(failed.length, 3);
  assert.equal(health.list()[0]?.state, 'down');
});

test('the page of the API: searched on the server, nothing of the text runs', async () => {
  const app = await makeApi(makeFakes());
  const page = docsPage(app.swagger());
  const count = (html: string): number => html.match(/<details>\n<summary><span/g)?.length ?? 0;
  const all = count(page(''));
  assert.ok(all > 20);
  assert.ok(page('').includes(`${all} operations`));
  const calls = page('POST phone calls');
  assert.ok(count(calls) > 0 && count(calls) < all);
  assert.ok(calls.includes('<code>/v1/phone/calls</code>'));
  assert.ok(!calls.includes('<code>/health</code>'));
  assert.ok(calls.includes('value="POST phone calls"'));
  assert.match(
    page('/v1/phone/calls'),
    /curl -X POST &quot;\$CALLYARD_URL\/v1\/phone\/calls&quot;/,
  );
  assert.equal(count(page('no-such-thing')), 0);
  const ringing = count(page('RING_timeout_s'));
  assert.ok(ringing > 0 && ringing < all, 'fields are found');
  assert.equal(ringing, count(page('ring_timeout_s')), 'whatever their case');
  for (const nasty of ['"><script>alert(1)</script>', "' onfocus='x", '<img src=x>']) {
    assert.doesNotMatch(page(nasty), /<script|<img| onfocus='/i, nasty);
  }
  for (const html of [page(''), calls]) {
    for (const [, target] of html.matchAll(/href="#([^"]+)"/g)) {
      assert.ok(html.includes(`id="${target}"`), `#${target} leads nowhere`);
    }
  }
  const found = await app.inject('/docs?q=hangup&ignored=1');
  assert.equal(found.statusCode, 200);
  assert.match(found.body, /operations hold “hangup”/);
  assert.match(String(found.headers['content-security-policy']), /form-action 'self'/);
  assert.equal((await app.inject(`/docs?q=${'x'.repeat(101)}`)).statusCode, 400);
  await app.close();
});
