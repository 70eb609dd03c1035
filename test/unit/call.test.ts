/** One call from first to last on a simulated clock: every way to end, what it leaves, and that all is given back. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppError } from '#lib/errors.ts';
import { runCall } from '#sessions/call.ts';
import { AUDIO, createRig, fakeLlm, fakeTts, settle, type Rig } from './_fakes.ts';

const speech = (rig: Rig, startMs: number, endMs: number): void => {
  rig.media.emit({
    type: 'speech.started',
    atMs: startMs + 60,
    startMs,
    wireMs: performance.timeOrigin + startMs,
  });
  rig.clock.advance(endMs + 400 - rig.clock.now());
  rig.media.emit({
    type: 'speech.stopped',
    atMs: endMs + 400,
    startMs,
    endMs,
    wireMs: performance.timeOrigin + endMs,
  });
};

const heard = (text: string) =>
  ({ type: 'final', text, confidence: 0.9, startMs: null, endMs: null, language: 'en' }) as const;

/** Lets `ms` pass in steps, so that promises settle between timers. */
async function pass(rig: Rig, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 100) {
    rig.clock.advance(Math.min(100, left));
    await settle();
  }
}

function messages(rig: Rig): string[] {
  return rig.setup.story.messages.map(
    (message) => `${message.role}: ${message.content}${message.interrupted === true ? ' /' : ''}`,
  );
}

test('greeted, asked, answered, hung up by the caller', async () => {
  const rig = createRig();
  const call = runCall(rig.deps, rig.setup);
  await settle();
  await pass(rig, 1000);
  speech(rig, 1500, 2500);
  rig.hear(heard('hello'));
  await pass(rig, 3000);
  rig.dialog.end('remote');
  const ending = await call.done;
  assert.equal(ending.outcome, 'completed');
  assert.equal(ending.hangupReason, 'user');
  assert.deepEqual(messages(rig), [
    'assistant: Hello there my friend',
    'user: hello',
    'assistant: You said hello.',
  ]);
  assert.deepEqual(rig.types(), [
    'call.initiated',
    'call.answered',
    'ai-response',
    'conversation.message',
    'user-speech',
    'conversation.message',
    'ai-response',
    'conversation.message',
    'call.ended',
    'recording.ready',
  ]);
  const latency = rig.entries.find(({ event }) => event.type === 'call.ended')?.record?.latency;
  assert.equal(latency?.turns, 1);
  assert.equal(latency?.mouth_to_ear_ms.p50, 500);
  assert.equal(rig.clock.pending, 0, 'no timer is left');
  assert.deepEqual(rig.log.slice(-2), ['stt.close', 'media.close'], 'no BYE after a BYE');
});

test('an interruption leaves exactly what was heard', async () => {
  const rig = createRig();
  const call = runCall(rig.deps, rig.setup);
  await settle();
  rig.clock.advance(450); // two of four words
  rig.media.emit({
    type: 'speech.started',
    atMs: 450,
    startMs: 400,
    wireMs: performance.timeOrigin + 400,
  });
  rig.hear({ type: 'partial', text: 'stop it' });
  await settle();
  rig.dialog.end('remote');
  await call.done;
  assert.deepEqual(messages(rig), ['assistant: Hello there /']);
  const told = rig.entries.find(({ event }) => event.type === 'user-interrupted')?.event.data;
  assert.deepEqual(told, { turn: 1, heard_ms: 450, heard_text: 'Hello there', reaction_ms: 50 });
});

test('a BYE in mid-sentence leaves what was heard until then', async () => {
  const rig = createRig();
  const call = runCall(rig.deps, rig.setup);
  await settle();
  rig.clock.advance(650);
  rig.dialog.end('remote');
  await call.done;
  assert.deepEqual(messages(rig), ['assistant: Hello there my /']);
});

test('every other end: outcome, BYE or none, nothing left', async () => {
  type Row = [
    name: string,
    act: (rig: Rig, call: ReturnType<typeof runCall>) => Promise<void> | void,
    outcome: string,
    bye: boolean,
  ];
  const rows: Row[] = [
    ['hung up over the API', (_, call) => call.hangup('api', null), 'completed', true],
    ['the node stops', (_, call) => call.stop(), 'completed', true],
    [
      'media is lost',
      (rig) =>
        rig.media.emit({ type: 'media.lost', atMs: 1, silentMs: 15_000, everReceived: true }),
      'media_lost',
      true,
    ],
    ['the dialog ended by itself', (rig) => rig.dialog.end('local'), 'media_lost', false],
    ['the engine lost the dialog', (rig) => rig.dialog.end('engine'), 'media_lost', false],
    ['the maximum duration', (rig) => pass(rig, 700_000), 'max_duration', true],
    ['silence', (rig) => pass(rig, 80_000), 'silence', true],
  ];
  for (const [name, act, outcome, bye] of rows) {
    const long =
      name === 'the maximum duration'
        ? { silence: { promptAfterS: 10_000, prompts: 0, promptText: null, hangupAfterS: 10_000 } }
        : {};
    const rig = createRig({ agent: long });
    const call = runCall(rig.deps, rig.setup);
    await settle();
    await act(rig, call);
    await pass(rig, 300);
    const ending = await call.done;
    assert.equal(ending.outcome, outcome, name);
    assert.equal(rig.log.includes('bye'), bye, name);
    assert.equal(rig.log.filter((line) => line === 'media.close').length, 1, name);
    assert.equal(rig.types().filter((type) => type === 'call.ended').length, 1, name);
    assert.equal(rig.clock.pending, 0, name);
  }
});

test('calls that never come to be', async () => {
  const refused = {
    ok: false,
    cause: { type: 'we.refused', outcome: 'incompatible_media', status: 488, reason: null },
  } as const;
  const badOffer = createRig({ check: () => Promise.resolve(refused) });
  assert.equal((await runCall(badOffer.deps, badOffer.setup).done).outcome, 'incompatible_media');
  assert.deepEqual(badOffer.log, ['refuse we.refused'], 'no port was leased');

  const busy = {
    ok: false,
    cause: { type: 'callee.refused', outcome: 'busy', status: 486, q850: 17 },
  } as const;
  const callee = createRig({ connect: () => Promise.resolve(busy) });
  assert.equal((await runCall(callee.deps, callee.setup).done).outcome, 'busy');
  assert.ok(callee.log.includes('media.close'));
  assert.deepEqual(callee.types(), ['call.initiated', 'call.failed']);

  const broken = createRig({ connect: () => Promise.reject(new AppError('E_SIP_ENGINE', 'gone')) });
  const ending = await runCall(broken.deps, broken.setup).done;
  assert.equal(ending.outcome, 'internal_error');
  const failed = broken.entries.at(-1)?.event.data as { error: unknown };
  assert.deepEqual(failed.error, { code: 'E_SIP_ENGINE', message: 'gone' });
});

test('CANCEL that crosses our answer: the late dialog gets its BYE', async () => {
  const answer = Promise.withResolvers<void>();
  const rig = createRig({
    connect: async (events, _signal, dialog) => {
      setImmediate(() => events.onCancel());
      await answer.promise;
      return { ok: true, dialog, audio: AUDIO };
    },
  });
  const call = runCall(rig.deps, rig.setup);
  await settle();
  answer.resolve();
  const ending = await call.done;
  assert.equal(ending.outcome, 'abandoned');
  assert.ok(rig.log.includes('bye'));
  assert.ok(!rig.log.includes('media.start'));
});

test('hanging up while we dial aborts the attempt', async () => {
  const rig = createRig({
    connect: (_events, signal) =>
      new Promise((resolve) => {
        const cause = {
          type: 'callee.refused',
          outcome: 'cancelled',
          status: 487,
          q850: null,
        } as const;
        signal.addEventListener('abort', () => resolve({ ok: false, cause }));
      }),
  });
  const call = runCall(rig.deps, rig.setup);
  await settle();
  call.hangup('api', null);
  const ending = await call.done;
  assert.deepEqual(
    [ending.outcome, ending.hangupReason, ending.endedBy],
    ['cancelled', null, 'api'],
  );
});

test('a model that fails gets an apology; the caller can go on', async () => {
  const llm = fakeLlm((text) => {
    if (text !== 'one') return [{ type: 'text', text: `You said ${text}.` }];
    throw new AppError('E_PROVIDER_SERVER', 'the model is away');
  });
  const rig = createRig({ llm });
  const call = runCall(rig.deps, rig.setup);
  await settle();
  await pass(rig, 1000);
  speech(rig, 1100, 2000);
  rig.hear(heard('one'));
  await pass(rig, 5000);
  const at = rig.clock.now();
  speech(rig, at + 100, at + 1000);
  rig.hear(heard('two'));
  await pass(rig, 3000);
  rig.dialog.end('remote');
  await call.done;
  assert.deepEqual(
    messages(rig).map((line) => line.slice(0, 15)),
    ['assistant: Hell', 'user: one', 'assistant: Sorr', 'user: two', 'assistant: You '],
  );
  assert.ok(rig.types().includes('call-error'));
});

test('a reply may end the call: BYE after its last word', async () => {
  const llm = fakeLlm(() => [{ type: 'text', text: 'Good bye now.' }, { type: 'end_call' }]);
  const rig = createRig({ llm });
  const call = runCall(rig.deps, rig.setup);
  await settle();
  await pass(rig, 1000);
  rig.media.emit({ type: 'dtmf', atMs: 1000, digit: '0', durationMs: 100 });
  await pass(rig, 2000);
  const ending = await call.done;
  assert.deepEqual(
    [ending.outcome, ending.hangupReason, ending.endedBy],
    ['completed', 'ai', 'agent'],
  );
  assert.deepEqual(messages(rig).slice(1), ['user: [DTMF 0]', 'assistant: Good bye now.']);
  assert.ok(rig.log.includes('bye'));
});

test('a BYE that overtakes the end of connecting is the end of an answered call', async () => {
  const rig = createRig();
  const onEnd = rig.dialog.onEnd.bind(rig.dialog);
  rig.dialog.onEnd = (listener) => {
    onEnd(listener);
    rig.dialog.end('remote'); // as a dialog does whose BYE came with the ACK
  };
  const ending = await runCall(rig.deps, rig.setup).done;
  assert.deepEqual(
    [ending.outcome, ending.status, ending.finalEvent],
    ['completed', 'ended', 'call.ended'],
  );
  assert.equal(rig.types().filter((type) => /^call\.(ended|failed|timeout)$/.test(type)).length, 1);
});

test('an ACK that comes long after the hang-up still gets its BYE', async () => {
  const answer = Promise.withResolvers<void>();
  const rig = createRig({
    connect: async (_events, _signal, dialog) => {
      await answer.promise;
      return { ok: true, dialog, audio: AUDIO };
    },
  });
  const call = runCall(rig.deps, rig.setup);
  await settle();
  call.hangup('api', null);
  await pass(rig, 4000);
  await call.done;
  assert.ok(!rig.log.includes('bye'));
  answer.resolve();
  await settle();
  assert.ok(rig.log.includes('bye'));
});

test('the transcript of a reply that failed half-way holds what was voiced, no more', async () => {
  const tts = {
    ...fakeTts,
    async *speak(request: Parameters<typeof fakeTts.speak>[0], signal: AbortSignal) {
      if (request.text.startsWith('Second')) throw new AppError('E_PROVIDER_SERVER', 'gone');
      yield* fakeTts.speak(request, signal);
    },
  };
  const llm = fakeLlm(() => [
    { type: 'text', text: 'First sentence is here. Second sentence never was. ' },
  ]);
  const rig = createRig({ llm, tts });
  const call = runCall(rig.deps, rig.setup);
  await settle();
  await pass(rig, 1000);
  rig.media.emit({ type: 'dtmf', atMs: 1000, digit: '5', durationMs: 100 });
  await pass(rig, 2500);
  rig.dialog.end('remote');
  await call.done;
  const said = messages(rig).find((line) => line.includes('First'));
  assert.equal(said, 'assistant: First sentence is here.');
});

test('a step of the release that fails costs nothing but itself', async () => {
  const rig = createRig();
  const providers = rig.setup.providers();
  const stt = {
    ...providers.stt,
    open: (options: Parameters<typeof providers.stt.open>[0]) => ({
      ...providers.stt.open(options),
      close: () => {
        throw new Error('stuck');
      },
    }),
  };
  const call = runCall(rig.deps, { ...rig.setup, providers: () => ({ ...providers, stt }) });
  await settle();
  rig.dialog.end('remote');
  await pass(rig, 300);
  assert.equal((await call.done).outcome, 'completed');
  assert.ok(rig.log.includes('media.close'));
  assert.ok(rig.types().includes('call.ended'));
});

test('a recording that was lost is told as a fault, not as ready', async () => {
  const rig = createRig();
  const close = rig.media.close.bind(rig.media);
  rig.media.close = async () => ({ ...(await close()), recording: null });
  const call = runCall(rig.deps, rig.setup);
  await settle();
  rig.dialog.end('remote');
  await pass(rig, 300);
  await call.done;
  assert.equal(rig.types().at(-1), 'call-error');
  assert.equal(rig.entries.at(-1)?.record?.recording_status, 'failed');
});

test('the next way out through another address of ours gets media there; nothing is left of the first', async () => {
  const addresses = ['192.0.2.1', '192.0.2.1', '192.0.2.2', '192.0.2.2'];
  let tries = 0;
  const congested = {
    ok: false,
    cause: { type: 'callee.refused', outcome: 'congestion', status: 503, q850: null },
  } as const;
  const rig = createRig({
    localAddress: () => Promise.resolve(addresses.shift() ?? '192.0.2.2'),
    connect: (_events, _signal, dialog) =>
      Promise.resolve(++tries < 3 ? congested : { ok: true, dialog, audio: AUDIO }),
    advance: () => Promise.resolve(tries < 3),
  });
  const call = runCall(rig.deps, rig.setup);
  await settle();
  await settle();
  const media = rig.log.filter((line) => /^media\.(?:open|close|start)$/.test(line));
  assert.deepEqual(media, ['media.open', 'media.close', 'media.open', 'media.start']);
  rig.dialog.end('remote');
  assert.equal((await call.done).outcome, 'completed');
  assert.equal(rig.log.filter((line) => line === 'media.close').length, 2);
});

test('hung up while the next way out is looked for: that way is not taken', async () => {
  const looking = Promise.withResolvers<boolean>();
  let tries = 0;
  const rig = createRig({
    connect: () => {
      tries++;
      const cause = {
        type: 'callee.refused',
        outcome: 'congestion',
        status: 503,
        q850: null,
      } as const;
      return Promise.resolve({ ok: false, cause });
    },
    advance: () => looking.promise,
  });
  const call = runCall(rig.deps, rig.setup);
  await settle();
  call.hangup('api', null);
  looking.resolve(true);
  await settle();
  assert.equal((await call.done).outcome, 'cancelled');
  assert.deepEqual([tries, rig.log.filter((line) => line === 'media.close').length], [1, 1]);
});

test('hung up before the way out is found: no port is leased', async () => {
  const found = Promise.withResolvers<{ readonly ok: true }>();
  const rig = createRig({ check: () => found.promise });
  const call = runCall(rig.deps, rig.setup);
  await settle();
  call.hangup('api', null);
  found.resolve({ ok: true });
  assert.equal((await call.done).outcome, 'cancelled');
  await settle();
  assert.deepEqual(rig.log, ['refuse api.hangup']);
});

const NOTICE = 'This call is recorded.';

test('the notice comes first, whole; what is recorded begins behind it', async () => {
  const rig = createRig();
  const call = runCall(rig.deps, { ...rig.setup, notice: NOTICE });
  await settle();
  rig.clock.advance(300);
  speech(rig, 350, 380); // over the notice: there is nothing to answer
  await settle();
  assert.ok(!rig.log.includes('record'));
  assert.equal(rig.setup.story.snapshot().recordingStatus, 'none');
  await pass(rig, 3000);
  assert.equal(rig.log.filter((line) => line === 'record').length, 1);
  rig.dialog.end('remote');
  await call.done;
  assert.deepEqual(messages(rig), [`assistant: ${NOTICE}`, 'assistant: Hello there my friend']);
  const answered = rig.entries.find(({ event }) => event.type === 'call.answered');
  assert.deepEqual([answered?.record?.recording_status, answered?.recording], ['none', null]);
  const told = rig.entries.find(({ recording }) => recording !== null);
  const said = rig.entries.find(({ event }) => event.type === 'conversation.message');
  assert.ok((told?.event.seq ?? 9) <= (said?.event.seq ?? 0), 'known as soon as it is told');
  assert.equal(told?.record?.recording_status, 'active');
  assert.equal(told?.record?.recording_id, told?.recording?.id);
  assert.equal(told?.recording?.notice_at, told?.recording?.started_at);
  assert.ok(told?.recording?.notice_at !== undefined);
  assert.equal(rig.entries.at(-1)?.event.type, 'recording.ready');
  assert.equal(rig.clock.pending, 0, 'no timer is left');
});

test('a notice that was not heard whole: nothing is recorded, and the call goes on', async () => {
  const cut = createRig();
  const short = runCall(cut.deps, { ...cut.setup, notice: NOTICE });
  await settle();
  cut.clock.advance(300);
  cut.dialog.end('remote');
  await short.done;
  assert.deepEqual(messages(cut), ['assistant: This /']);
  let spoken = 0;
  const mute = createRig({
    tts: {
      ...fakeTts,
      speak: (request, signal) => {
        if (spoken++ > 0) return fakeTts.speak(request, signal);
        throw new AppError('E_PROVIDER_SERVER', 'no voice');
      },
    },
  });
  const call = runCall(mute.deps, { ...mute.setup, notice: NOTICE });
  await settle();
  await pass(mute, 2000);
  mute.dialog.end('remote');
  await call.done;
  assert.deepEqual(messages(mute), ['assistant: Hello there my friend']);
  for (const rig of [cut, mute]) {
    assert.ok(!rig.log.includes('record'));
    assert.ok(!rig.types().includes('recording.ready'));
    assert.equal(rig.setup.story.snapshot().recordingStatus, 'none');
  }
});
