/** What every scripted call must leave behind, whoever placed it: on the wire, in the record, in the recording. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { callFacts, type CallFacts } from './call-facts.ts';
import { startCapture } from './capture.ts';
import { compareAudio } from './correlate.ts';
import { decodeStream } from './rtp-report.ts';
import { ANSWER, GREETING, QUESTION } from './script.ts';
import type { CallRecord, Callyard } from './server.ts';
import { readWav } from './wav.ts';

export type ObservedCall = {
  readonly facts: CallFacts;
  readonly record: CallRecord;
  readonly wav: readonly Int16Array[];
};

/** One captured call: `place` makes it and returns when it is over. */
export async function observe(
  folder: string,
  name: string,
  server: Callyard,
  place: () => Promise<void>,
): Promise<ObservedCall> {
  const known = await server.recordIds();
  const filter = `host ${server.address}`;
  await using capture = await startCapture(join(folder, `${name}.pcap`), filter);
  await place();
  const record = await server.finishedRecord(known);
  const facts = callFacts(await capture.finish(), server.address);
  const wav = readWav(await server.saveRecording(record.id));
  assert.equal(wav.sampleRateHz, 8000);
  return { facts, record, wav: wav.channels };
}

/** Greeted in time, script spoken word for word, duration and outcome right, both channels as they were on the wire. */
export function checkScriptedCall(
  call: ObservedCall,
  expected: { readonly direction: 'inbound' | 'outbound'; readonly endedBy: string },
): void {
  const { facts, record, wav } = call;
  console.log(`# greeted ${facts.greetedAfterMs.toFixed(0)} ms after ACK`);
  assert.ok(facts.greetedAfterMs <= 500, `greeted after ${facts.greetedAfterMs} ms`);
  assert.equal(record.direction, expected.direction);
  assert.deepEqual(
    [record.status, record.outcome, record.hangup_reason, record.ended_by],
    ['ended', 'completed', expected.endedBy === 'caller' ? 'user' : 'ai', expected.endedBy],
  );
  const wireS = (facts.byeMs - facts.ackMs) / 1000;
  const recordS = record.duration_seconds ?? Number.NaN;
  assert.ok(Math.abs(recordS - wireS) <= 1, `record ${recordS} s, on the wire ${wireS} s`);
  const said = record.messages.map(({ role, content }) => [role, content]);
  assert.deepEqual(said, [
    ['assistant', GREETING],
    ['user', QUESTION],
    ['assistant', ANSWER],
  ]);
  checkRecording(call, wireS);
  assert.equal(record.recording_status, 'ready');
  assert.equal(wav.length, 2);
}

function checkRecording({ facts, wav }: ObservedCall, wireS: number): void {
  for (const [channel, stream] of [facts.fromCaller, facts.fromAgent].entries()) {
    const found = compareAudio(decodeStream(stream), wav[channel] ?? new Int16Array(0));
    const shown = `channel ${channel}: ${JSON.stringify(found)}`;
    assert.ok(found.correlation >= 0.98, shown);
    assert.ok(found.longestGapMs <= 20 && found.lagSpreadMs <= 5, shown);
  }
  const wavS = (wav[0]?.length ?? 0) / 8000;
  assert.ok(Math.abs(wavS - wireS) <= 0.5, `recording ${wavS} s, on the wire ${wireS} s`);
}
