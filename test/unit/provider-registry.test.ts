/** Which providers an agent gets, and what a wrong setting says. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemClock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import { silentLog } from '#lib/log.ts';
import { createLocalTts } from '#providers/local/tts.ts';
import { createProviders, type Providers, type ProviderSettings } from '#providers/registry.ts';
import { collect, replyRequest, textOf } from './_provider-contract.ts';

const MODEL = { baseUrl: 'http://127.0.0.1:9/v1', apiKey: '', model: 'm' };
const DEFAULTS = { stt: null, llm: null, tts: null };

function make(settings: Partial<ProviderSettings> = {}): Providers {
  return createProviders({
    ...{ log: silentLog, clock: systemClock, cacheDir: null },
    localTts: createLocalTts({ log: silentLog, clock: systemClock, cacheDir: null, engine: null }),
    settings: { llm: null, sttVendor: null, llmVendor: null, ttsVendor: null, ...settings },
  });
}

test('vendors by setting and by agent', () => {
  const rows: [
    Partial<ProviderSettings>,
    Partial<typeof DEFAULTS> | Record<string, string>,
    string,
  ][] = [
    [{}, {}, 'local local local'],
    [{ llm: MODEL }, {}, 'local openai local'],
    [{ llm: MODEL, llmVendor: 'local' }, {}, 'local local local'],
    [{ sttVendor: 'sim', llmVendor: 'sim', ttsVendor: 'sim' }, {}, 'sim sim sim'],
    [{ sttVendor: 'sim' }, { stt: 'local', llm: 'sim' }, 'local sim local'],
    [{ llm: MODEL, llmVendor: 'sim' }, { llm: 'openai', tts: 'sim' }, 'local openai sim'],
  ];
  for (const [settings, vendors, expected] of rows) {
    const providers = make(settings);
    const { stt, llm, tts } = providers.forAgent({ vendors: { ...DEFAULTS, ...vendors } });
    assert.equal([stt.vendor, llm.vendor, tts.vendor].join(' '), expected);
    providers.close();
  }
});

test('a vendor that does not exist is refused, naming the setting', () => {
  const rows: [Partial<ProviderSettings>, RegExp][] = [
    [
      { sttVendor: 'nuance' },
      /^CALLYARD_STT_VENDOR: .*speech recogniser called "nuance".*local, sim/,
    ],
    [{ llmVendor: 'gpt' }, /^CALLYARD_LLM_VENDOR: .*"gpt".*local, sim, openai/],
    [{ ttsVendor: 'toString' }, /^CALLYARD_TTS_VENDOR: .*"toString"/],
    [{ ttsVendor: 'openai' }, /^CALLYARD_TTS_VENDOR/],
    [{ llmVendor: 'openai' }, /^CALLYARD_LLM_VENDOR is openai, which needs CALLYARD_LLM_BASE_URL/],
    [{ llm: { ...MODEL, model: '' } }, /^CALLYARD_LLM_MODEL is not set/],
    [{ llm: { ...MODEL, baseUrl: 'example' } }, /^CALLYARD_LLM_BASE_URL is not an http address/],
    [{ simScript: { greting: 'x' } as never }, /^sim script: \/greting: unknown key/],
    [{ simScript: '/nonexistent.json' }, /^sim script \/nonexistent\.json: ENOENT/],
  ];
  for (const [settings, expected] of rows) {
    assert.throws(
      () => make(settings),
      (error) => {
        assert.ok(error instanceof AppError && error.code === 'E_CONFIG', String(error));
        assert.match(error.message, expected);
        return true;
      },
    );
  }
  const providers = make();
  const agent = { vendors: { ...DEFAULTS, tts: 'acapela' } };
  assert.throws(() => providers.forAgent(agent), /the agent's vendors\.tts: .*"acapela"/);
  const wantsModel = { vendors: { ...DEFAULTS, llm: 'openai' } };
  assert.throws(
    () => providers.forAgent(wantsModel),
    /the agent's vendors\.llm is openai, which needs/,
  );
});

test('a running server is put on sim by a script file', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'sim-'));
  try {
    const path = join(dir, 'script.json');
    writeFileSync(
      path,
      JSON.stringify({ greeting: 'Hi!', replies: [{ match: '/x/', reply: 'Y.' }] }),
    );
    const providers = make({
      sttVendor: 'sim',
      llmVendor: 'sim',
      ttsVendor: 'sim',
      simScript: path,
    });
    const { llm } = providers.forAgent({ vendors: DEFAULTS });
    assert.equal(llm.greeting?.('en'), 'Hi!');
    const stream = llm.reply(replyRequest('x'), new AbortController().signal);
    assert.equal(textOf((await collect(stream)).items), 'Y.');
    assert.equal(providers.hasVoice, false);
    await providers.warmUp([{ text: 'x', language: 'en' }]);
  } finally {
    rmSync(dir, { recursive: true });
  }
});
