/** What a crash leaves of a call, and how it is closed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CallEntry, EventData, Message, RecordingPatch } from '#lib/call-events.ts';
import { SimulatedClock } from '#lib/clock.ts';
import { newId } from '#lib/ids.ts';
import { silentLog } from '#lib/log.ts';
import { LiveCalls } from '#store/live-calls.ts';
import { recoverCalls, type Recovered, type RepairRecording } from '#store/recover.ts';
import { scriptCall, type CallScript } from './_store-entries.ts';

const active = (): RecordingPatch => ({ id: newId(), status: 'active', uri: 'recordings/a.wav' });

async function recovered(
  entries: readonly CallEntry[],
  repair: RepairRecording = async () => null,
): Promise<Recovered & { appended: CallEntry[] }> {
  const live = new LiveCalls();
  for (const entry of entries) live.note(entry, 1);
  const appended: CallEntry[] = [];
  const journal = {
    liveCalls: () => live.list(),
    append: (entry: CallEntry) => {
      appended.push(entry);
      live.note(entry, 1);
    },
  };
  const clock = new SimulatedClock(Date.UTC(2026, 10, 9));
  const result = await recoverCalls({ journal, node: 'node-1', repair, log: silentLog, clock });
  assert.deepEqual(live.list(), [], 'a second recovery finds nothing');
  return { ...result, appended };
}

const newCall = (): CallScript => scriptCall(newId(), newId());

test('calls without a final event are closed; duration runs from the answer to the last event', async () => {
  type Row = [string, (call: CallScript) => CallEntry[], [string, string, number] | null];
  const rows: Row[] = [
    ['only initiated', (call) => [call.initiated()], ['call.failed', 'failed', 0]],
    [
      'answered, 1.4 s from there on',
      (call) => [
        ...[call.initiated(), call.answered()],
        ...Array.from({ length: 13 }, () => call.says('user', 'a')),
      ],
      ['call.ended', 'ended', 1],
    ],
    ['over', (call) => [call.initiated(), call.answered(), call.ended()], null],
    // Its first event was in a file that is gone, and with it the call was over.
    ['late event alone', (call) => [call.says('user', 'a')], null],
  ];
  for (const [name, script, expected] of rows) {
    const call = newCall();
    const entries = script(call);
    const { appended, calls } = await recovered(entries);
    if (expected === null) {
      assert.deepEqual(appended, [], name);
      continue;
    }
    const [type, status, duration] = expected;
    assert.deepEqual(calls, [call.id], name);
    assert.equal(appended.length, 1, name);
    const { event, record } = appended[0] as CallEntry;
    assert.deepEqual(
      [event.type, event.seq, event.call_id],
      [type, entries.length + 1, call.id],
      name,
    );
    assert.deepEqual(
      record,
      {
        ...{ status, duration_seconds: duration, end_time: entries.at(-1)?.event.time },
        ...{ hangup_reason: 'error', outcome: 'node_lost', ended_by: 'system' },
      },
      name,
    );
  }
});

test('what a call had cost until the crash is in its final event, and not counted again', async () => {
  const call = newCall();
  const priced = (cost: number, currency = 'CNY') => {
    return { agent_id: call.agentId, vendor: 'v', stt_seconds: 1, cost, currency };
  };
  const entries: CallEntry[] = [
    call.initiated(),
    { ...call.answered(), usage: [priced(0.1), priced(0.2)] },
    { ...call.says('user', 'a'), usage: [{ ...priced(9, 'EUR') }, { agent_id: '', vendor: 'w' }] },
  ];
  const { appended } = await recovered(entries);
  const [{ event, usage } = assert.fail()] = appended;
  const { cost } = event.data as EventData['call.ended'];
  assert.deepEqual(
    [event.type, cost, usage],
    ['call.ended', { amount: 0.3, currency: 'CNY' }, undefined],
  );
});

test('recordings left open are mended, and lost ones are marked', async () => {
  const rows: [string, RepairRecording, 'ready' | 'failed', string][] = [
    ['mended', async () => ({ durationMs: 1_234.4, bytes: 5_678 }), 'ready', 'recording.ready'],
    ['nothing there', async () => null, 'failed', 'call-error'],
    ['broken', () => Promise.reject(new Error('bad header')), 'failed', 'call-error'],
  ];
  for (const [name, repair, status, type] of rows) {
    const call = newCall();
    const recording = active();
    const first = { ...call.initiated(), recording };
    const { appended, recordings } = await recovered([first, call.answered()], repair);
    assert.deepEqual(
      appended.map(({ event }) => [event.seq, event.type]),
      [
        [3, 'call.ended'],
        [4, type],
      ],
      name,
    );
    assert.equal(
      (appended[0]?.event.data as { recording_status: string } | undefined)?.recording_status,
      status,
      name,
    );
    assert.deepEqual(
      appended[1]?.record,
      { recording_status: status, recording_id: recording.id },
      name,
    );
    assert.deepEqual([recordings[0]?.id, recordings[0]?.status], [recording.id, status], name);
    if (status === 'ready')
      assert.deepEqual([recordings[0]?.duration_ms, recordings[0]?.bytes], [1_234, 5_678]);
  }
});

test('a call that was over keeps its final event and only has its recording mended', async () => {
  const call = newCall();
  const first = { ...call.initiated(), recording: active() };
  const { appended, calls } = await recovered([first, call.answered(), call.ended()], async () => ({
    durationMs: 1,
    bytes: 44,
  }));
  assert.deepEqual(calls, []);
  assert.deepEqual(
    appended.map(({ event }) => event.type),
    ['recording.ready'],
  );
});

test('a tool that was begun and has not answered is of unknown outcome, said before the end', async () => {
  const call = newCall();
  const begins = (name: string): CallEntry =>
    withMessage(call.says('assistant', ''), {
      ...{ role: 'assistant', content: '' },
      tool_calls: [{ id: newId(), name, arguments: { item: 'tea' } }],
    });
  const answers = (name: string): CallEntry =>
    withMessage(call.says('user', ''), { role: 'function', content: '1', name });
  const { appended } = await recovered([
    ...[call.initiated(), call.answered(), begins('order'), begins('look'), begins('order')],
    ...[answers('order'), answers('look')],
  ]);
  const told = appended.map(({ event }) => [event.type, event.seq]);
  assert.deepEqual(told, [
    ['conversation.message', 8],
    ['call.ended', 9],
  ]);
  const [first] = appended;
  assert.ok(first !== undefined);
  const { message } = first.event.data as EventData['conversation.message'];
  assert.deepEqual([message.role, message.name], ['function', 'order']);
  assert.match(message.content, /unknown outcome/);
});

function withMessage(entry: CallEntry, message: Omit<Message, 'timestamp'>): CallEntry {
  const data = { message: { ...message, timestamp: 1_767_225_600 } };
  return { ...entry, event: { ...entry.event, data } as CallEntry['event'] };
}
