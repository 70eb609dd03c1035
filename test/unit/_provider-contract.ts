/** What every provider must do, whoever made it: run over local, sim and openai by their tests. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppError } from '#lib/errors.ts';
import type {
  LlmProvider,
  ReplyPart,
  ReplyRequest,
  SttEvent,
  SttProvider,
  TtsChunk,
  TtsProvider,
  TtsRequest,
} from '#providers/contract.ts';

export function replyRequest(text: string, more: Partial<ReplyRequest> = {}): ReplyRequest {
  return {
    callId: 'call-1',
    language: 'en',
    messages: [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: text },
    ],
    input: { kind: 'speech', text, audio: null },
    state: new Map(),
    ...more,
  };
}

export async function collect<T, R>(
  stream: AsyncGenerator<T, R>,
): Promise<{ items: T[]; result: R }> {
  const items: T[] = [];
  for (;;) {
    const next = await stream.next();
    if (next.done === true) return { items, result: next.value };
    items.push(next.value);
  }
}

export async function speakAll(
  tts: TtsProvider,
  request: TtsRequest,
  signal = new AbortController().signal,
): Promise<{ pcm: Int16Array; marks: { chars: number; ms: number }[]; chunks: TtsChunk[] }> {
  const { items: chunks } = await collect(tts.speak(request, signal));
  const pcm = Int16Array.from(chunks.flatMap((chunk) => [...chunk.pcm]));
  return { pcm, marks: chunks.flatMap((chunk) => chunk.marks), chunks };
}

export function textOf(parts: readonly ReplyPart[]): string {
  return parts.map((part) => (part.type === 'text' ? part.text : '')).join('');
}

function isAborted(error: unknown): boolean {
  return error instanceof AppError && error.code === 'E_ABORTED';
}

export function testTts(name: string, make: () => TtsProvider, texts: readonly TtsRequest[]): void {
  test(`${name}: speech comes with rising marks that end with text and audio`, async () => {
    const tts = make();
    for (const request of texts) {
      const { pcm, marks } = await speakAll(tts, request);
      assert.ok(pcm.length > 800, `${request.text}: ${pcm.length} samples`);
      assert.ok(
        pcm.some((sample) => Math.abs(sample) > 500),
        'it is silent',
      );
      for (const [i, mark] of marks.entries()) {
        const before = marks[i - 1] ?? { chars: 0, ms: 0 };
        assert.ok(mark.chars > before.chars && mark.ms >= before.ms, JSON.stringify(marks));
      }
      const last = marks.at(-1);
      assert.equal(last?.chars, request.text.trimEnd().length, request.text);
      assert.ok(last.ms <= Math.ceil(pcm.length / 8), `${last.ms} of ${pcm.length / 8} ms`);
      assert.ok(last.ms >= pcm.length / 8 - 400, `${last.ms} of ${pcm.length / 8} ms`);
    }
  });
  test(`${name}: nothing to say yields nothing`, async () => {
    for (const text of ['', '  ', '?!', '\n']) {
      assert.equal((await speakAll(make(), { text, language: 'en' })).pcm.length, 0);
    }
  });
  test(`${name}: an abort ends speech with E_ABORTED, before and during it`, async () => {
    const tts = make();
    const request = texts[0] as TtsRequest;
    await assert.rejects(speakAll(tts, request, AbortSignal.abort()), isAborted);
    const abort = new AbortController();
    const stream = tts.speak(request, abort.signal);
    assert.equal((await stream.next()).done, false);
    abort.abort();
    await assert.rejects(collect(stream), isAborted);
    assert.ok((await speakAll(tts, request)).pcm.length > 0, 'and it speaks again');
  });
  test(`${name}: a listener may leave in the middle`, async () => {
    const tts = make();
    for await (const chunk of tts.speak(texts[0] as TtsRequest, new AbortController().signal)) {
      assert.ok(chunk.pcm instanceof Int16Array);
      break;
    }
  });
}

export function testLlm(name: string, make: () => LlmProvider): void {
  test(`${name}: speech, unread speech and keys are all answered with something to say`, async () => {
    const llm = make();
    const audio = { pcm: new Int16Array(8000).fill(1000), startMs: 0, endMs: 1000 };
    const inputs: ReplyRequest['input'][] = [
      { kind: 'speech', text: 'hello there', audio: null },
      { kind: 'speech', text: '', audio },
      { kind: 'speech', text: '', audio: null },
      ...[...'0123456789*#'.split(''), '12', ''].map((digits) => ({
        kind: 'dtmf' as const,
        digits,
      })),
    ];
    for (const input of inputs) {
      for (const language of ['zh', 'en'] as const) {
        const request = replyRequest('hello there', { input, language });
        const { items } = await collect(llm.reply(request, new AbortController().signal));
        assert.match(textOf(items), /\p{L}/u, JSON.stringify(input));
        const end = items.findIndex((part) => part.type === 'end_call');
        assert.ok(end === -1 || end === items.length - 1, 'nothing comes after end_call');
      }
    }
  });
  test(`${name}: an abort ends the reply with E_ABORTED, before and during it`, async () => {
    const llm = make();
    await assert.rejects(collect(llm.reply(replyRequest('hi'), AbortSignal.abort())), isAborted);
    const abort = new AbortController();
    const stream = llm.reply(replyRequest('hi there. How are you?'), abort.signal);
    assert.equal((await stream.next()).done, false);
    abort.abort();
    await assert.rejects(collect(stream), isAborted);
  });
}

export function testStt(name: string, make: () => SttProvider, settle: () => Promise<void>): void {
  test(`${name}: each utterance gets one final with its times, none after close`, async () => {
    const events: SttEvent[] = [];
    const session = make().open({
      callId: 'c',
      language: 'en',
      onEvent: (event) => events.push(event),
    });
    for (let n = 0; n < 3; n++) {
      const startMs = n * 1000;
      session.speechStarted(startMs);
      session.push(new Int16Array(777));
      session.speechStopped({ pcm: new Int16Array(4000), startMs, endMs: startMs + 500 });
      assert.equal(events.length, n, 'never from inside the call');
      await settle();
    }
    assert.deepEqual(
      events.map((event) => (event.type === 'final' ? [event.startMs, event.endMs] : event.type)),
      [0, 1000, 2000].map((startMs) => [startMs, startMs + 500]),
    );
    session.speechStopped({ pcm: new Int16Array(0), startMs: 4000, endMs: 4500 });
    session.close();
    session.close();
    session.push(new Int16Array(160));
    session.speechStopped({ pcm: new Int16Array(0), startMs: 5000, endMs: 5500 });
    await settle();
    assert.equal(events.length, 3);
  });
}
