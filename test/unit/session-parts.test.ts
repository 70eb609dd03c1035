/** The small parts of a call: story, latency, hearing, history, audio history, back-channels. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JournalEntry } from '#lib/call-events.ts';
import { SimulatedClock } from '#lib/clock.ts';
import { AudioHistory } from '#sessions/audio-history.ts';
import { AudioPump } from '#sessions/audio-pump.ts';
import { isBackchannel } from '#sessions/backchannel.ts';
import { Hearing } from '#sessions/hearing.ts';
import { fillIn, historyOf } from '#sessions/history.ts';
import { TurnTimes, summarise } from '#sessions/latency.ts';
import { isEmergencyNumber } from '#sessions/numbers.ts';
import { endingOf } from '#sessions/outcome.ts';
import type { AgentConfig } from '#lib/agent-config.ts';
import { CallStory } from '#sessions/story.ts';

const ACCOUNT = '00000000-0000-4000-8000-000000000001';
const AGENT = '00000000-0000-4000-8000-000000000002';
const CALL = '00000000-0000-4000-8000-000000000003';

function storyOn(
  clock: SimulatedClock,
  changes: Partial<ConstructorParameters<typeof CallStory>[0]> = {},
): { story: CallStory; entries: JournalEntry[] } {
  const entries: JournalEntry[] = [];
  const story = new CallStory({
    journal: { append: (entry) => entries.push(entry) },
    clock,
    node: 'n1',
    callId: CALL,
    accountId: ACCOUNT,
    agentId: AGENT,
    agentName: 'Default agent',
    direction: 'inbound',
    channel: 'phone',
    from: '+15550100',
    to: '8001',
    remoteNumber: '+15550100',
    remoteName: null,
    trunkId: null,
    sipCallId: 'abc@192.0.2.1',
    variables: {},
    ...{ requestId: null, metadata: {}, maskAtRest: false },
    ...{ trunkTransport: null, customerId: null, squadId: null, ruleId: null, callerApp: null },
    campaignId: null,
    ...changes,
  });
  return { story, entries };
}

test('a story is a gapless sequence whose patches make the record', () => {
  const clock = new SimulatedClock(Date.UTC(2026, 10, 20, 10));
  const { story, entries } = storyOn(clock);
  story.initiated();
  clock.advance(120);
  story.ringing(180, false);
  clock.advance(80);
  story.answered('PCMA', 'abc@192.0.2.1', { id: CALL, status: 'active', uri: 'recordings/a.wav' });
  clock.advance(5000);
  story.message({ role: 'user', content: 'hello', start_ms: 1000, end_ms: 2000 }, 1000);
  assert.equal(story.snapshot().durationSeconds, 5);
  clock.advance(400);
  story.markEnd();
  clock.advance(2000); // clearing up does not count
  story.final({
    ending: endingOf({ type: 'remote.bye', q850: 16 }, true),
    sipStatus: null,
    q850: null,
    error: null,
    quality: null,
    latency: null,
    recordingStatus: 'ready',
    metadata: { total_tokens: 0, avg_confidence: null },
  });
  assert.deepEqual(
    entries.map(({ event }) => event.seq),
    [1, 2, 3, 4, 5],
  );
  assert.deepEqual(
    entries.map(({ event }) => event.type),
    ['call.initiated', 'call.ringing', 'call.answered', 'conversation.message', 'call.ended'],
  );
  const record = Object.assign({}, ...entries.map((entry) => entry.record ?? {})) as Record<
    string,
    unknown
  >;
  assert.equal(record['start_time'], '2026-11-20T10:00:00.000Z');
  assert.equal(record['answer_time'], '2026-11-20T10:00:00.200Z');
  assert.equal(record['end_time'], '2026-11-20T10:00:05.600Z');
  assert.equal(record['duration_seconds'], 5);
  assert.equal(record['outcome'], 'completed');
  assert.equal(record['recording_status'], 'active');
  assert.equal(story.messages[0]?.timestamp, Date.UTC(2026, 10, 20, 10, 0, 1, 200) / 1000);
});

test('a step of the wall clock does not move the times of a call', () => {
  const clock = new SimulatedClock();
  const { story } = storyOn(clock);
  story.initiated();
  const before = story.snapshot().startTime;
  clock.wallMs = () => 0;
  clock.advance(1000);
  story.answered('PCMU', 'x', null);
  assert.equal(story.snapshot().startTime, before);
  assert.equal(Date.parse(story.snapshot().answerTime ?? '') - Date.parse(before), 1000);
});

test('the parts of the waterfall add up to the whole, whatever order the instants came in', () => {
  const orders: [string, Partial<Record<Parameters<TurnTimes['mark']>[0], number>>][] = [
    [
      'read before the end-point',
      {
        speechEnd: 0,
        detected: 450,
        read: 460,
        asked: 500,
        llmFirst: 700,
        pieceReady: 720,
        audioReady: 800,
        firstPacket: 815,
      },
    ],
    [
      'read after the end-point',
      {
        speechEnd: 0,
        detected: 450,
        asked: 900,
        read: 900,
        llmFirst: 1100,
        pieceReady: 1100,
        audioReady: 1180,
        firstPacket: 1190,
      },
    ],
    [
      'no model',
      {
        speechEnd: 0,
        detected: 450,
        asked: 500,
        pieceReady: 501,
        audioReady: 502,
        firstPacket: 520,
      },
    ],
    [
      'read before it was detected',
      { speechEnd: 0, read: 100, detected: 450, asked: 500, audioReady: 502, firstPacket: 520 },
    ],
  ];
  for (const [label, instants] of orders) {
    const times = new TurnTimes(() => 0);
    times.jitterMs = 40;
    for (const [name, at] of Object.entries(instants)) times.mark(name as 'asked', at);
    const latency = times.latency();
    const sum = Object.values(latency?.partsMs ?? {}).reduce((a, b) => a + b, 0);
    assert.equal(sum, latency?.totalMs, label);
    assert.equal(latency?.partsMs.jitter, 40, label);
  }
  assert.equal(new TurnTimes(() => 1).latency(), null);
  assert.equal(summarise([]), null);
  const turn = (totalMs: number) => ({
    ...{ totalMs, vendors: {} },
    partsMs: { jitter: 0, endpointing: totalMs, stt: 0, llm: 0, tts: 0, pacing: 0 },
  });
  assert.deepEqual(summarise([turn(300), turn(100), turn(200)])?.mouth_to_ear_ms, {
    p50: 200,
    p90: 300,
    max: 300,
  });
});

test('utterances are read in order and become one input', () => {
  const hearing = new Hearing();
  const audio = { pcm: new Int16Array(1), startMs: 900, endMs: 1500 };
  hearing.stopped(100, 500.4, () => audio);
  hearing.stopped(900, 1500, () => audio);
  const final = (text: string, confidence: number | null) =>
    ({ type: 'final', text, confidence, startMs: null, endMs: null, language: null }) as const;
  const first = hearing.read(final('I want', 0.8));
  const second = hearing.read(final('two tickets', 0.6));
  assert.ok(first !== null && second !== null);
  assert.deepEqual([first.startMs, first.endMs], [100, 500]);
  hearing.keep(first);
  hearing.keep(second);
  assert.deepEqual(hearing.takeInput(), { kind: 'speech', text: 'I want two tickets', audio });
  assert.deepEqual(hearing.takeInput(), { kind: 'speech', text: '', audio: null });
  assert.equal(hearing.averageConfidence, 0.7);
  hearing.stopped(2000, 2500, () => audio);
  assert.deepEqual(
    hearing.giveUp().map(({ startMs, text }) => [startMs, text]),
    [[2000, '']],
  );
  assert.equal(hearing.read(final('too late', null)), null);
  hearing.stopped(4000, 5000, () => audio);
  assert.equal(hearing.read({ ...final('later still', null), startMs: 2000, endMs: 2500 }), null);
  assert.equal(hearing.read(final('hello', null))?.startMs, 4000);
});

test('history is what was heard, with variables filled in and a limit', () => {
  const agent = {
    systemPrompt: 'You serve {{ name }}. {{missing}}',
    variables: { name: 'Li' },
    maxHistory: 2,
  } as unknown as AgentConfig;
  const say = (role: 'user' | 'assistant', content: string) =>
    ({ role, content, timestamp: 1 }) as const;
  const history = historyOf(agent, [
    say('assistant', 'a'),
    say('user', ''),
    say('user', 'b'),
    say('assistant', 'c'),
  ]);
  assert.deepEqual(history, [
    { role: 'system', content: 'You serve Li. {{missing}}' },
    { role: 'user', content: 'b' },
    { role: 'assistant', content: 'c' },
  ]);
  assert.equal(fillIn('{{toString}}', {}), '{{toString}}');
});

test('an utterance is cut out of the last 16 seconds, with its lead', () => {
  const history = new AudioHistory();
  for (let ms = 0; ms < 20_000; ms += 20) history.append(new Int16Array(160).fill(ms / 20));
  const { pcm } = history.utterance(10_000, 10_100);
  assert.equal(pcm.length, 300 * 8);
  assert.equal(pcm[0], 490);
  assert.equal(pcm.at(-1), 504);
  assert.equal(history.utterance(0, 4100).pcm.length, 100 * 8);
});

test('the pump drains every member each period and stops with the last one', () => {
  const clock = new SimulatedClock();
  const pump = new AudioPump(clock, (error) => faults.push(error));
  const faults: unknown[] = [];
  let count = 0;
  const member = { pump: () => void count++ };
  pump.add(member);
  clock.advance(1000);
  assert.equal(count, 50);
  const broken = {
    pump: () => {
      throw new Error('broken');
    },
  };
  pump.add(broken);
  clock.advance(100);
  assert.deepEqual([count, faults.length], [55, 1], 'one that throws costs the others nothing');
  pump.remove(member);
  clock.advance(1000);
  assert.equal(count, 55);
  assert.equal(clock.pending, 0);
});

test('back-channels in Chinese and English, and what only looks like one', () => {
  for (const text of ['嗯', '嗯。', '好的！', '对对', 'Uh-huh.', 'OK', 'yeah,', 'I see.'])
    assert.ok(isBackchannel(text), text);
  for (const text of ['', '不对', '好的但是', 'okay wait', 'no', '停'])
    assert.ok(!isBackchannel(text), text);
});

test('emergency numbers are never dialled', () => {
  for (const number of ['110', '120', '112', '911']) assert.ok(isEmergencyNumber(number), number);
  for (const number of ['+15550100', '1100', '8001']) assert.ok(!isEmergencyNumber(number), number);
});

test('with masking at rest no digit of a number is journaled, and the model still hears it', () => {
  const clock = new SimulatedClock();
  const { story, entries } = storyOn(clock, { maskAtRest: true });
  story.initiated();
  story.answered('PCMA', 'abc@192.0.2.1', null);
  const said = 'My number is 13800138000.';
  story.message({ role: 'user', content: said }, 0);
  const heard = { start_ms: 0, end_ms: 1, confidence: null, language: null };
  story.fact('user-speech', { text: said, is_final: true, ...heard });
  story.fact('ai-response', { text: said, turn: 1, latency_ms: null, audio_ms: null });
  const cut = { turn: 1, heard_ms: 1, heard_text: said, reaction_ms: 1 };
  story.fact('user-interrupted', cut);
  assert.ok(!JSON.stringify(entries).includes('13800138000'));
  // Keys of the telephone come one by one: no pattern would find a PIN in them.
  story.fact('dtmf.received', { digit: '7', duration_ms: 100, mode: 'rfc4733' });
  story.message({ role: 'user', content: '[DTMF 7]' }, 5);
  assert.deepEqual(entries.at(-2)?.event.data, { digit: '*', duration_ms: 100, mode: 'rfc4733' });
  assert.deepEqual(
    [story.messages.at(-1)?.content, story.transcript.at(-1)?.content],
    ['[DTMF 7]', '[DTMF *]'],
  );
  const masked = 'My number is 138****8000.';
  assert.equal(JSON.stringify(entries).split(masked).length - 1, 4);
  assert.deepEqual([story.messages[0]?.content, story.transcript[0]?.content], [said, masked]);
});

test('what a call brings along is in the record, and a change of trunk follows with the next event', () => {
  const clock = new SimulatedClock();
  const { story, entries } = storyOn(clock, {
    ...{ trunkId: CALL, trunkTransport: 'udp', customerId: 'c-1', squadId: ACCOUNT },
    ...{ ruleId: AGENT, callerApp: 'wecom', metadata: { order: 7 } },
  });
  story.initiated();
  const first = entries[0]?.record;
  assert.deepEqual(
    [first?.trunk_id, first?.squad_id, first?.rule_id, first?.caller_app, first?.metadata],
    [CALL, ACCOUNT, AGENT, 'wecom', { order: 7 }],
  );
  story.trying();
  story.trying();
  story.reroute({ trunkId: AGENT, trunkTransport: 'tcp', from: '+15550101' });
  story.trying();
  story.ringing(180, false);
  story.trying();
  assert.deepEqual(
    entries.map(({ event, record }) => [event.type, record?.trunk_id, record?.from_number]),
    [
      ['call.initiated', CALL, '+15550100'],
      ['call.trying', undefined, undefined],
      ['call.trying', AGENT, '+15550101'],
      ['call.ringing', undefined, undefined],
    ],
  );
  const view = story.snapshot();
  assert.deepEqual(
    [view.trunkId, view.trunkTransport, view.fromNumber, view.customerId, view.callerApp],
    [AGENT, 'tcp', '+15550101', 'c-1', 'wecom'],
  );
  assert.deepEqual([view.squadId, view.ruleId, view.metadata], [ACCOUNT, AGENT, { order: 7 }]);
});
