/** Every language-model vendor, transcription and speech by the OpenAI protocol, against simulators of their rules. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '#lib/clock.ts';
import type { AppError } from '#lib/errors.ts';
import { silentLog } from '#lib/log.ts';
import { loadStreamResampling } from '#lib/stream-resampler.ts';
import { encodeUtteranceId } from '#lib/utterance-tones.ts';
import type { VendorAccount } from '#providers/accounts.ts';
import type { SttEvent, TtsProvider } from '#providers/contract.ts';
import { createLocalTts } from '#providers/local/tts.ts';
import { chatModelOf } from '#providers/openai/chat-vendors.ts';
import { CHAT_VENDORS, type ChatVendorName } from '#providers/openai/presets.ts';
import { speech } from '#providers/openai/speech.ts';
import { transcription } from '#providers/openai/transcription.ts';
import { createProviders } from '#providers/registry.ts';
import {
  startOpenAiSim,
  type OpenAiSim,
  type OpenAiSimOptions,
} from '#providers/sim/openai-http.ts';
import type { VendorFault } from '#providers/sim/vendor-server.ts';
import { simSpeech } from '#providers/sim/vendor-voice.ts';
import type { VendorSettings, VendorTools } from '#providers/vendor.ts';
import {
  collect,
  replyRequest,
  speakAll,
  testLlm,
  testTts,
  textOf,
} from '../unit/_provider-contract.ts';

const KEY = 'made-up-key-0005';
const TOOLS: VendorTools = { log: silentLog, clock: systemClock, resampling: loadStreamResampling };
const NAMES = Object.keys(CHAT_VENDORS) as ChatVendorName[];
const WEATHER = {
  name: 'weather',
  description: 'The weather somewhere',
  parameters: { type: 'object', properties: { city: { type: 'string' } } },
};

function settingsFor(baseUrl: string, more: Partial<VendorSettings> = {}): VendorSettings {
  return {
    ...{ setting: 'the llm account "test" (x)', credentials: { api_key: KEY }, token: null },
    ...{ model: null, temperature: 0.4, maxTokens: 90, voice: null, speed: null, volume: null },
    ...more,
    options: { base_url: baseUrl, preset: more.model === 'gpt-x' ? 'openai' : '', ...more.options },
  };
}

async function withSim<T>(
  options: Omit<OpenAiSimOptions, 'apiKey'>,
  work: (sim: OpenAiSim) => Promise<T>,
): Promise<T> {
  const sim = await startOpenAiSim({ apiKey: KEY, ...options });
  try {
    return await work(sim);
  } finally {
    await sim.close();
  }
}

const modelOf = (name: ChatVendorName): string => CHAT_VENDORS[name].model || 'gpt-x';
const ever = (): AbortSignal => new AbortController().signal;

for (const name of NAMES) {
  test(`${name}: words, tools and usage by its own rules`, async () => {
    const call = { name: 'weather', arguments: { city: '北京 "x"' } };
    await withSim({ vendor: name, reply: '北京今天晴，😀 25°C。', call }, async (sim) => {
      const llm = chatModelOf(name)(settingsFor(sim.baseUrl, { model: modelOf(name) }), TOOLS);
      assert.equal(llm.vendor, name);
      const state = new Map<string, unknown>();
      const first = await collect(
        llm.reply(replyRequest('天气？', { tools: [WEATHER], state }), ever()),
      );
      const asked = first.items.find((part) => part.type === 'tool_call')?.call;
      assert.deepEqual(asked?.arguments, call.arguments);
      const messages = [
        ...replyRequest('天气？').messages,
        { role: 'assistant' as const, content: '', toolCalls: asked === undefined ? [] : [asked] },
        { role: 'tool' as const, content: '{"sky":"clear"}', toolCallId: asked?.id ?? '' },
      ];
      const request = replyRequest('天气？', { tools: [WEATHER], state, messages });
      const { items, result } = await collect(llm.reply(request, ever()));
      assert.equal(textOf(items), '北京今天晴，😀 25°C。');
      assert.doesNotMatch(textOf([...first.items, ...items]), /SECRET/);
      assert.ok((result?.inputTokens ?? 0) > 0 && (result?.outputTokens ?? 0) > 0);
      assert.deepEqual(sim.violations, []);
    });
  });
}

test('kimi-k3 thinks always and gets its thoughts back; other models of kimi do not', async () => {
  for (const model of ['kimi-k3', 'kimi-k2.6', 'moonshot-v1-8k']) {
    await withSim(
      {
        vendor: model.startsWith('kimi') ? 'kimi' : 'local',
        call: { name: 'weather', arguments: {} },
      },
      async (sim) => {
        const llm = chatModelOf('kimi')(settingsFor(sim.baseUrl, { model }), TOOLS);
        const state = new Map<string, unknown>();
        const { items } = await collect(
          llm.reply(replyRequest('x', { tools: [WEATHER], state }), ever()),
        );
        const asked = items.flatMap((part) => (part.type === 'tool_call' ? part.call : []));
        const messages = [
          ...replyRequest('x').messages,
          { role: 'assistant' as const, content: '', toolCalls: asked },
          { role: 'tool' as const, content: '1', toolCallId: asked[0]?.id ?? '' },
        ];
        await collect(llm.reply(replyRequest('x', { tools: [WEATHER], state, messages }), ever()));
        assert.deepEqual(sim.violations, []);
        const replayed = ((sim.asked[1] ?? {})['messages'] as Record<string, unknown>[]).some(
          (each) => 'reasoning_content' in each,
        );
        assert.equal(replayed, model === 'kimi-k3');
      },
    );
  }
});

test('spark models without tools are offered none', async () => {
  await withSim({ vendor: 'spark', reply: 'fine' }, async (sim) => {
    const llm = chatModelOf('spark')(settingsFor(sim.baseUrl, { model: 'lite' }), TOOLS);
    await collect(llm.reply(replyRequest('x', { tools: [WEATHER] }), ever()));
    assert.deepEqual([sim.violations, sim.asked[0]?.['tools']], [[], undefined]);
  });
});

test('a key that is refused: the error names the setting, and not the key', async () => {
  for (const name of NAMES) {
    await withSim({ vendor: name }, async (sim) => {
      const credentials = { api_key: 'made-up-wrong-key' };
      const settings = settingsFor(sim.baseUrl, { credentials, model: modelOf(name) });
      const llm = chatModelOf(name)(settings, TOOLS);
      await assert.rejects(collect(llm.reply(replyRequest('hi'), ever())), (error: AppError) => {
        assert.equal(error.code, 'E_PROVIDER_AUTH', `${name}: ${error.message}`);
        assert.match(error.message, /credentials\.api_key of the llm account "test"/);
        assert.doesNotMatch(JSON.stringify([error.message, error.details]), /made-up-wrong-key/);
        return true;
      });
      assert.equal(sim.asked.length, 0);
    });
  }
});

test('an account of openai at a proxy keeps to the rules that its preset names', async () => {
  const settings = { llm: null, sttVendor: null, llmVendor: null, ttsVendor: null };
  const providers = createProviders({
    ...{ log: silentLog, clock: systemClock, cacheDir: null, settings },
    localTts: createLocalTts({ log: silentLog, clock: systemClock, cacheDir: null, engine: null }),
  });
  const asked = (preset: string, base_url: string) => {
    const account: VendorAccount = {
      ...{ id: 'a', kind: 'llm', vendor: 'openai', name: 'proxy', credentials: { api_key: KEY } },
      options: { base_url, model: 'glm-4.7-flash', preset },
    };
    const nobody = { stt: null, llm: null, tts: null };
    const agent = { vendors: nobody, vendorConfigs: { ...nobody, llm: 'a' } };
    return providers.forAgent(agent, [account]).llm;
  };
  await withSim({ vendor: 'glm' }, async (sim) => {
    const reply = asked('glm', sim.baseUrl).reply(replyRequest('Hello'), ever());
    assert.notEqual(textOf((await collect(reply)).items), '');
    assert.deepEqual(sim.asked.at(-1)?.['thinking'], { type: 'disabled' });
    assert.throws(() => asked('nobody', sim.baseUrl), {
      ...{ code: 'E_CONFIG', message: /options\.preset must be one of/ },
    });
  });
  providers.close();
});

test('settings that are wrong say which', () => {
  const rows: [ChatVendorName, Partial<VendorSettings>, RegExp][] = [
    ['openai', {}, /has no model/],
    ['qwen', { options: { base_url: 'ftp://x' } }, /options\.base_url must be an address/],
    [
      'glm',
      { options: { base_url: 'https://example.com/v1' }, credentials: {} },
      /credentials\.api_key is missing/,
    ],
    [
      'kimi',
      { options: { base_url: 'https://example.com/v1', model: 5 } },
      /options\.model must be a text/,
    ],
  ];
  for (const [name, more, message] of rows) {
    const settings = settingsFor('https://example.com/v1', more);
    assert.throws(() => chatModelOf(name)(settings, TOOLS), { code: 'E_CONFIG', message });
  }
});

/** Fault -> what the caller of `reply` meets: words in the end, or this error. */
const CHAT_FAULTS: readonly [ChatVendorName, (VendorFault | null)[], RegExp | 'whole'][] = [
  ['openai', [{ kind: 'refuse', status: 500 }], 'whole'],
  [
    'openai',
    [
      { kind: 'refuse', status: 503 },
      { kind: 'refuse', status: 503 },
    ],
    /E_PROVIDER_SERVER/,
  ],
  ['deepseek', [{ kind: 'refuse', status: 402 }], /E_PROVIDER_AUTH/],
  ['openai', [{ kind: 'fail_before_start' }], 'whole'],
  ['qwen', [{ kind: 'cut' }], /E_PROVIDER_SERVER/],
  ['ernie', [{ kind: 'junk' }], /E_PROVIDER_SERVER/],
  ['doubao', [{ kind: 'recycle' }], /E_PROVIDER_SERVER/],
  ['openai', [{ kind: 'fail_midway' }], /E_PROVIDER_SERVER/],
  ['glm', [{ kind: 'fail_midway' }], /E_PROVIDER_QUOTA/],
  ['minimax', [{ kind: 'slow', ms: 150 }], 'whole'],
  ['openai', [{ kind: 'moderated' }], /E_PROVIDER_CONTENT/],
  ['qwen', [{ kind: 'moderated' }], /E_PROVIDER_CONTENT/],
  ['glm', [{ kind: 'moderated' }], /E_PROVIDER_CONTENT/],
  ['spark', [{ kind: 'moderated' }], /E_PROVIDER_CONTENT/],
  ['spark', [{ kind: 'own', name: 'code_in_chunk' }], /E_PROVIDER_CONTENT/],
];

test('faults of language models fall into their classes, and what may pass is tried again', async () => {
  for (const [name, faults, expected] of CHAT_FAULTS) {
    await withSim({ vendor: name, reply: 'One two three four five.' }, async (sim) => {
      sim.faults.add(...faults);
      const llm = chatModelOf(name)(settingsFor(sim.baseUrl, { model: modelOf(name) }), TOOLS);
      const said = collect(llm.reply(replyRequest('hi'), ever())).then(
        ({ items }) => textOf(items),
        (error: AppError) => error.code,
      );
      const what = `${name} ${JSON.stringify(faults)}`;
      if (expected === 'whole') assert.equal(await said, 'One two three four five.', what);
      else assert.match(await said, expected, what);
      await settled(() => sim.openRequests === 0, what);
    });
  }
});

async function settled(isTrue: () => boolean, what: string): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    if (isTrue()) return;
    await sleep(10);
  }
  assert.fail(`never: ${what}`);
}

// ---- The contract suites ----

const shared = await startOpenAiSim({ vendor: 'local', apiKey: KEY, reply: 'Hello there, you.' });
test.after(() => shared.close());
testLlm('chat over the simulator', () =>
  chatModelOf('openai')(settingsFor(shared.baseUrl, { model: 'm' }), TOOLS),
);

const voice = (more: Partial<VendorSettings> = {}): TtsProvider =>
  speech(settingsFor(shared.baseUrl, more), TOOLS);
testTts('speech over the simulator', () => voice(), [
  { text: 'Hello, this is a test of the voice.', language: 'en' },
  { text: '您好，这是一个测试。', language: 'zh' },
]);

test('speech: the sound is what the vendor sent', async () => {
  const { pcm } = await speakAll(voice(), { text: 'one two three four', language: 'en' });
  const sent = simSpeech('one two three four', 8_000);
  assert.ok(Math.abs(pcm.length - sent.length) < 200, `${pcm.length} of ${sent.length}`);
  assert.ok(bestCorrelation(sent, pcm, 60) > 0.98, String(bestCorrelation(sent, pcm, 60)));
});

function bestCorrelation(a: Int16Array, b: Int16Array, maxLag: number): number {
  let best = -1;
  for (let lag = 0; lag <= maxLag; lag++) {
    let [ab, aa, bb] = [0, 0, 0];
    for (let i = 0; i + lag < b.length && i < a.length; i++) {
      const [x, y] = [a[i] as number, b[i + lag] as number];
      ab += x * y;
      aa += x * x;
      bb += y * y;
    }
    best = Math.max(best, ab / Math.sqrt(aa * bb));
  }
  return best;
}

test('faults of speech', async () => {
  const rows: [VendorFault, RegExp][] = [
    [{ kind: 'refuse', status: 401 }, /E_PROVIDER_AUTH/],
    [{ kind: 'refuse', status: 429 }, /E_PROVIDER_QUOTA/],
    [{ kind: 'fail_before_start' }, /E_PROVIDER_SERVER/],
    [{ kind: 'moderated' }, /E_PROVIDER_CONTENT/],
    [{ kind: 'cut' }, /E_PROVIDER_SERVER/],
  ];
  for (const [fault, expected] of rows) {
    shared.faults.add(fault);
    await assert.rejects(
      speakAll(voice(), { text: 'one two three four', language: 'en' }),
      (error: AppError) => {
        assert.match(error.code, expected, JSON.stringify(fault));
        return true;
      },
    );
  }
  assert.ok((await speakAll(voice(), { text: 'again', language: 'en' })).pcm.length > 0);
  assert.deepEqual(shared.violations, []);
});

// ---- Transcription ----

const WORDS = { 3: '我要查一下账单', 4: 'My order is late.' };

async function heard(
  fault: VendorFault | null,
  ids: readonly number[],
  options = {},
): Promise<SttEvent[]> {
  return withSim({ vendor: 'openai', words: WORDS }, async (sim) => {
    sim.faults.add(fault, null);
    const events: SttEvent[] = [];
    const stt = transcription(
      settingsFor(sim.baseUrl, { options: { base_url: sim.baseUrl, ...options } }),
      TOOLS,
    );
    const session = stt.open({
      callId: 'c',
      language: 'zh',
      onEvent: (event) => events.push(event),
    });
    let startMs = 0;
    for (const id of ids) {
      const pcm = encodeUtteranceId(id);
      session.push(new Int16Array(3200));
      session.push(pcm.subarray(0, 500));
      session.speechStarted(startMs + 400);
      session.push(pcm.subarray(500));
      session.push(new Int16Array(1600));
      session.speechStopped({ pcm, startMs: startMs + 400, endMs: startMs + 740 });
      startMs += 2000;
    }
    const isTold = (): boolean =>
      events.filter(({ type }) => type !== 'partial').length >= ids.length;
    await settled(isTold, JSON.stringify([fault, events]));
    session.close();
    assert.deepEqual(sim.violations, []);
    return events;
  });
}

test('transcription: one final for each utterance, in order, with what came before speech', async () => {
  const rows: [VendorFault | null, object][] = [
    [null, {}],
    [null, { stream: false }],
    [{ kind: 'own', name: 'no_stream' }, {}],
    [{ kind: 'cut' }, {}],
    [{ kind: 'junk' }, {}],
    [{ kind: 'recycle' }, {}],
    [{ kind: 'fail_before_start' }, {}],
    [{ kind: 'refuse', status: 503 }, {}],
  ];
  for (const [fault, options] of rows) {
    const events = await heard(fault, [3, 4], options);
    const finals = events.filter((event) => event.type === 'final');
    assert.deepEqual(
      finals.map(({ text, startMs, endMs, language }) => [text, startMs, endMs, language]),
      [
        [WORDS[3], 400, 740, 'zh'],
        [WORDS[4], 2400, 2740, 'en'],
      ],
      JSON.stringify([fault, events]),
    );
  }
});

test('transcription: a key that is refused is told once, with an empty final', async () => {
  const events = await heard({ kind: 'refuse', status: 401 }, [3]);
  const error = events.find((event) => event.type === 'error');
  assert.equal((error?.error as AppError | undefined)?.code, 'E_PROVIDER_AUTH');
});

test('a message of any size is not read to its end', async () => {
  await withSim({ vendor: 'local', reply: 'One two three four five.' }, async (sim) => {
    const llm = chatModelOf('openai')(settingsFor(sim.baseUrl, { model: 'gpt-x' }), TOOLS);
    sim.faults.add({ kind: 'huge', bytes: 20 * 1024 * 1024 });
    await assert.rejects(collect(llm.reply(replyRequest('hi'), ever())), {
      code: 'E_PROVIDER_SERVER',
      message: /more than anybody could say/,
    });
    await collect(llm.reply(replyRequest('hi'), ever()));
    assert.equal(sim.openRequests, 0);
  });
});
