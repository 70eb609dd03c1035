/** Our simulator of OpenAI Realtime, asked by the vendor's own client: so that ours and ours do not merely agree. */
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { test } from 'node:test';
import OpenAI from 'openai';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';
import type { RealtimeServerEvent } from 'openai/resources/realtime/realtime';
import { systemClock } from '#lib/clock.ts';
import { G711 } from '#lib/g711.ts';
import { startOpenAiRealtimeSim } from '#providers/sim/openai-realtime.ts';
import { FaultPlan } from '#providers/sim/vendor-server.ts';
import { simSpeech } from '#providers/sim/vendor-voice.ts';
import { loopbackCertificate } from './_certificate.ts';
import { answer, utterance, WORDS } from './_realtime-contract.ts';
import { atEnd, newDataDir } from './_store.ts';

type Type = RealtimeServerEvent['type'];

async function until<T>(what: string, find: () => T | undefined): Promise<T> {
  const endMs = performance.now() + 4_000;
  for (;;) {
    const found = find();
    if (found !== undefined) return found;
    assert.ok(performance.now() < endMs, `no ${what}`);
    await pause(3);
  }
}

test('the official client talks to the simulator, which refuses what the vendor refuses', async (t) => {
  const tls = loopbackCertificate(newDataDir(t));
  if (tls === null) return t.skip('openssl is not installed');
  const sim = await startOpenAiRealtimeSim({
    ...{ key: 'key-1', clock: systemClock, words: WORDS, answer, faults: new FaultPlan(), tls },
  });
  atEnd(t, () => sim.close());
  const client = new OpenAI({ apiKey: 'key-1', baseURL: `${sim.server.httpUrl}/v1` });
  const options = { rejectUnauthorized: false };
  const rt = new OpenAIRealtimeWS({ model: 'gpt-realtime-2.1', options }, client);
  atEnd(t, () => rt.close());
  const events: RealtimeServerEvent[] = [];
  const codes: unknown[] = [];
  rt.on('event', (event) => events.push(event));
  rt.on('error', (error) => codes.push(error.error?.code));
  const first = <T extends Type>(type: T) =>
    until(type, () =>
      events.find(
        (event): event is Extract<RealtimeServerEvent, { type: T }> => event.type === type,
      ),
    );

  await first('session.created');
  const format = { type: 'audio/pcma' } as const;
  rt.send({
    type: 'session.update',
    session: {
      ...{ type: 'realtime', output_modalities: ['audio'], instructions: 'Be brief.' },
      audio: {
        input: {
          ...{ format, transcription: { model: 'gpt-4o-mini-transcribe', language: 'en' } },
          turn_detection: { type: 'server_vad', silence_duration_ms: 500 },
        },
        output: { format, voice: 'marin' },
      },
    },
  });
  await first('session.updated');
  const codesOf = (pcm: Int16Array): Buffer =>
    Buffer.from(Uint8Array.from(pcm, (sample) => G711.PCMA.encode[sample & 0xffff] ?? 0));
  const line = codesOf(utterance(7));
  rt.send({ type: 'input_audio_buffer.append', audio: line.toString('base64') });
  const done = await first('response.done');
  assert.equal(done.response.status, 'completed');
  assert.equal(
    (await first('conversation.item.input_audio_transcription.completed')).transcript,
    WORDS[7],
  );
  const order: Type[] = [
    'input_audio_buffer.speech_started',
    'input_audio_buffer.speech_stopped',
    'input_audio_buffer.committed',
    'response.created',
    'response.output_item.added',
    'response.content_part.added',
    'response.output_audio.delta',
    'response.output_audio.done',
    'response.output_audio_transcript.done',
    'response.output_item.done',
    'response.done',
  ];
  const places = order.map((type) => events.findIndex((event) => event.type === type));
  assert.ok(
    places.every((at, i) => at > (places[i - 1] ?? -1)),
    JSON.stringify(places),
  );
  const sound = events.flatMap((event) =>
    event.type === 'response.output_audio.delta' ? [Buffer.from(event.delta, 'base64')] : [],
  );
  const said = simSpeech(`you said ${WORDS[7]}`, 8_000);
  assert.deepEqual(Buffer.concat(sound), codesOf(said));
  const words = events.map((event) =>
    event.type === 'response.output_audio_transcript.delta' ? event.delta : '',
  );
  assert.equal(words.join(''), `you said ${WORDS[7]}`);
  assert.deepEqual([codes, sim.violations], [[], []]);

  // What the vendor refuses, and goes on.
  const itemId = (await first('response.output_audio.delta')).item_id;
  const madeMs = said.length / 8;
  const cut = { type: 'conversation.item.truncate', item_id: itemId, content_index: 0 } as const;
  rt.send({ ...cut, audio_end_ms: madeMs + 1 });
  rt.send({ type: 'response.cancel' });
  rt.send({ type: 'response.create', response: { instructions: 'Say """one two three""".' } });
  rt.send({ type: 'response.create' });
  rt.send({ type: 'input_audio_buffer.append', audio: 'not base64!' });
  rt.send({ type: 'input_audio_buffer.commit' });
  rt.send({
    type: 'conversation.item.create',
    item: { type: 'function_call_output', call_id: 'call_0', output: '{}' },
  });
  await until('all the refusals', () => (codes.length >= 6 ? true : undefined));
  assert.deepEqual(codes, [
    'invalid_value',
    'response_cancel_not_active',
    'conversation_already_has_active_response',
    'invalid_value',
    'input_audio_buffer_commit_empty',
    'invalid_tool_call_id',
  ]);
  rt.send({ ...cut, audio_end_ms: 400 });
  assert.equal((await first('conversation.item.truncated')).audio_end_ms, 400);
  await until('the second reply', () =>
    events.filter(({ type }) => type === 'response.done').length === 2 ? true : undefined,
  );
});

test('the official client is turned away with a wrong key', async (t) => {
  const tls = loopbackCertificate(newDataDir(t));
  if (tls === null) return t.skip('openssl is not installed');
  const sim = await startOpenAiRealtimeSim({
    ...{ key: 'key-1', clock: systemClock, words: WORDS, answer, faults: new FaultPlan(), tls },
  });
  atEnd(t, () => sim.close());
  const client = new OpenAI({ apiKey: 'another', baseURL: `${sim.server.httpUrl}/v1` });
  const options = { rejectUnauthorized: false };
  const rt = new OpenAIRealtimeWS({ model: 'gpt-realtime-2.1', options }, client);
  const { promise, resolve } = Promise.withResolvers<string>();
  rt.on('error', (error) => resolve(error.message));
  assert.match(await promise, /401/);
  rt.close();
});
