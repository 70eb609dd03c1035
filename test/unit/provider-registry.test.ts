/** Which providers an agent gets, and what a wrong setting says. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemClock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import { silentLog } from '#lib/log.ts';
import type { VendorAccount } from '#providers/accounts.ts';
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

function account(changes: Partial<VendorAccount>): VendorAccount {
  return {
    ...{ id: 'one', kind: 'llm', vendor: 'openai', name: 'Main', options: { model: 'm' } },
    credentials: { api_key: 'k' },
    ...changes,
  };
}

test('an account’s own vendors, by priority, before the environment’s; an agent’s word before both', () => {
  const openai = account({});
  const local = account({ id: 'two', vendor: 'local' });
  const unknown = account({ vendor: 'elsewhere' });
  const sealed = account({ credentials: null });
  const modelless = account({ options: {} });
  const nowhere = account({ options: { model: 'm', base_url: 'ftp://127.0.0.1' } });
  const speech = account({ kind: 'speech', vendor: 'sim' });
  const simEar = account({ kind: 'stt', vendor: 'sim' });
  const rows: [VendorAccount[], Partial<typeof DEFAULTS> | Record<string, string>, string][] = [
    [[openai, local], {}, 'sim openai sim'],
    [[local, openai], {}, 'sim local sim'],
    [[unknown, sealed, local], {}, 'sim local sim'],
    [[unknown, sealed], {}, 'sim sim sim'],
    [[modelless, nowhere, local], {}, 'sim local sim'],
    [[modelless, nowhere], {}, 'sim sim sim'],
    [[openai, local], { llm: 'local' }, 'sim local sim'],
    [[openai], { llm: 'sim', stt: 'local' }, 'local sim sim'],
    [[speech], { stt: 'local' }, 'local sim sim'],
    [[{ ...simEar, vendor: 'local' }], {}, 'local sim sim'],
  ];
  const providers = make({ sttVendor: 'sim', llmVendor: 'sim', ttsVendor: 'sim' });
  for (const [accounts, vendors, expected] of rows) {
    const agent = { vendors: { ...DEFAULTS, ...vendors } };
    const { stt, llm, tts } = providers.forAgent(agent, accounts);
    assert.equal([stt.vendor, llm.vendor, tts.vendor].join(' '), expected);
  }
  const llm = { model: 'own', temperature: null, maxTokens: null };
  const own = providers.forAgent({ vendors: DEFAULTS, llm }, [modelless, local]);
  assert.equal(own.llm.vendor, 'openai', 'the agent names the model itself');
  providers.close();
});

test('an account that an agent names is used, or said to be wrong without its secrets', () => {
  const providers = make();
  const of = (vendor: string | null, configId: string) => ({
    vendors: { ...DEFAULTS, llm: vendor },
    vendorConfigs: { ...DEFAULTS, llm: configId },
  });
  const accounts = [
    account({ id: 'first', vendor: 'local' }),
    account({ id: 'good' }),
    account({ id: 'sealed', credentials: null }),
    account({ id: 'deaf', kind: 'stt' }),
    account({ id: 'modelless', options: {}, credentials: { api_key: 'canary' } }),
    account({ id: 'nowhere', options: { model: 'm', base_url: 'canary' } }),
    account({
      id: 'inner',
      options: {},
      credentials: { model: 'm', base_url: 'http://127.0.0.1:9' },
    }),
  ];
  for (const id of ['good', 'inner']) {
    assert.equal(providers.forAgent(of('openai', id), accounts).llm.vendor, 'openai');
    assert.equal(providers.forAgent(of(null, id), accounts).llm.vendor, 'openai');
  }
  const rows: [string | null, string, RegExp][] = [
    ['openai', 'gone', /^the agent's llm\.config_id names no active llm account/],
    ['openai', 'deaf', /names no active llm account/],
    ['local', 'good', /an account at openai, but its vendor is local/],
    ['openai', 'sealed', /the secrets of the llm account "Main" \(openai\) cannot be opened/],
    ['openai', 'modelless', /the llm account "Main" \(openai\) has no model in its options/],
    ['openai', 'nowhere', /base_url of the llm account "Main" \(openai\) is not an http address/],
  ];
  for (const [vendor, id, expected] of rows) {
    assert.throws(
      () => providers.forAgent(of(vendor, id), accounts),
      (error) => {
        assert.ok(error instanceof AppError && error.code === 'E_CONFIG', String(error));
        assert.match(error.message, expected);
        assert.doesNotMatch(error.message, /canary/);
        return true;
      },
    );
  }
  providers.close();
});

test('trying an account out: what runs here needs no asking, what has no client says so', async () => {
  const providers = make();
  const { signal } = new AbortController();
  await providers.probe(account({ vendor: 'local' }), signal);
  await providers.probe(account({ kind: 'tts', vendor: 'local' }), signal);
  const rows: [Partial<VendorAccount>, RegExp][] = [
    [{ kind: 'stt', vendor: 'elsewhere' }, /no speech recogniser called "elsewhere"/],
    [{ kind: 'realtime', vendor: 'local' }, /no speech-to-speech model called "local"/],
    [{ kind: 'speech' }, /tried out by its own route/],
    [{ credentials: null }, /its secrets cannot be opened/],
  ];
  for (const [changes, expected] of rows) {
    await assert.rejects(providers.probe(account(changes), signal), (error: AppError) => {
      assert.equal(error.code, 'E_CONFIG');
      assert.match(error.message, expected);
      return true;
    });
  }
  providers.close();
});
