/** Vendors of accounts and agents: which client is made of what, how often, with whom behind it, and how it is tried out. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedClock } from '#lib/clock.ts';
import type { AppError } from '#lib/errors.ts';
import { silentLog } from '#lib/log.ts';
import type { VendorAccount } from '#providers/accounts.ts';
import type { AgentProviders } from '#providers/agent-vendors.ts';
import { Clients, keyOf } from '#providers/clients.ts';
import { tapped, type ProviderName, type ProviderTap } from '#providers/contract.ts';
import { createLocalTts } from '#providers/local/tts.ts';
import { promptText } from '#providers/prompts.ts';
import { createProviders } from '#providers/registry.ts';
import {
  credential,
  numberOption,
  type VendorModule,
  type VendorSettings,
} from '#providers/vendor.ts';
import { broken } from './_pool-kit.ts';
import { collect, replyRequest, speakAll } from './_provider-contract.ts';

type Made = VendorSettings & { readonly kind: string; isClosed: boolean };

/** A vendor of every kind that says who it is; `fails` of its options is what it answers with. */
function vendorOf(vendor: string, made: Made[]): VendorModule {
  const note = (
    kind: string,
    settings: VendorSettings,
  ): { readonly close: () => void; readonly fail: () => void } => {
    credential(settings, 'api_key');
    numberOption(settings, 'speed_limit', 1, [0, 9]);
    const own = { ...settings, kind, isClosed: false };
    made.push(own);
    return {
      close: () => void (own.isClosed = true),
      fail: () => {
        if (settings.options['fails'] === true) throw broken('E_PROVIDER_SERVER');
      },
    };
  };
  return {
    vendor,
    stt: (settings) => {
      const { close, fail } = note('stt', settings);
      return {
        ...{ vendor, reads: true, close },
        check: async () => fail(),
        open: () => ({
          push: () => undefined,
          speechStarted: () => undefined,
          speechStopped: () => undefined,
          close: () => undefined,
        }),
      };
    },
    llm: (settings) => {
      const { close, fail } = note('llm', settings);
      return {
        ...{ vendor, close },
        async *reply() {
          fail();
          yield { type: 'text', text: settings.setting };
          return undefined;
        },
        complete: async () => {
          fail();
          return { text: 'yes', model: 'm', usage: null };
        },
      };
    },
    tts: (settings) => {
      const { close, fail } = note('tts', settings);
      return {
        ...{ vendor, close },
        async *speak({ text }) {
          fail();
          yield { pcm: new Int16Array(1_600), marks: [{ chars: text.length, ms: 200 }] };
        },
      };
    },
    realtime: (settings) => {
      const { close, fail } = note('realtime', settings);
      return {
        ...{ vendor, close, hasTools: true },
        open: async () => {
          fail();
          return {
            ...{ push: () => undefined, say: () => undefined, text: () => undefined },
            ...{ toolResult: () => undefined, interrupt: () => undefined, close: () => undefined },
          };
        },
      };
    },
  };
}

function rig() {
  const made: Made[] = [];
  const clock = new SimulatedClock();
  const localTts = createLocalTts({ log: silentLog, clock, cacheDir: null, engine: null });
  const providers = createProviders({
    ...{ log: silentLog, clock, cacheDir: null, localTts },
    settings: { llm: null, sttVendor: null, llmVendor: null, ttsVendor: null },
    vendors: [vendorOf('acme', made), vendorOf('zen', made)],
  });
  return { made, providers, clock };
}

let ids = 0;
function account(changes: Partial<VendorAccount> = {}): VendorAccount {
  ids += 1;
  return {
    ...{ id: `id${ids}`, kind: 'llm', vendor: 'acme', name: `n${ids}`, options: {}, priority: 100 },
    credentials: { api_key: 'canary-key' },
    ...changes,
  };
}

function agent(changes: Partial<AgentProviders> = {}): AgentProviders {
  return { vendors: { stt: null, llm: null, tts: null }, ...changes };
}

const { signal } = new AbortController();

test('a client is made of the account, overlaid by the agent, once for all calls', () => {
  const { made, providers } = rig();
  const tts = account({ kind: 'tts', options: { model: 'old', voice: 'house', region: 'cn' } });
  const wish = agent({
    voice: 'anna',
    speech: { speed: 1.5, volume: null, realtimeVoice: null },
    vendorOptions: { stt: {}, llm: {}, tts: { model: 'new' } },
  });
  for (let n = 0; n < 3; n++) providers.forAgent(wish, [tts]);
  assert.equal(made.length, 1);
  const [{ setting, options, model, voice, speed, volume, token } = assert.fail()] = made;
  assert.deepEqual(
    { setting, options, model, voice, speed, volume, token },
    {
      ...{ setting: `the tts account "${tts.name}" (acme)`, model: 'new', voice: 'anna' },
      ...{ options: { model: 'new', voice: 'house', region: 'cn' } },
      ...{ speed: 1.5, volume: null, token: null },
    },
  );
  providers.forAgent(agent(), [tts]);
  assert.equal(made[1]?.voice, 'house', 'another voice is another client');
  providers.forAgent(agent(), [{ ...tts, credentials: { api_key: 'new-key' } }]);
  assert.equal(made.length, 3, 'so are other credentials');
  providers.close();
  assert.ok(made.every(({ isClosed }) => isClosed));
});

test('clients are few: whoever is not used goes, and is made again when it is', () => {
  const closed: string[] = [];
  const clients = new Clients(2);
  const get = (key: string) => clients.get(key, () => ({ close: () => void closed.push(key) }));
  const a = get('a');
  get('b');
  assert.equal(get('a'), a);
  get('c');
  assert.deepEqual([closed, clients.size], [['b'], 2]);
  get('b');
  assert.deepEqual(closed, ['b', 'a']);
  clients.close();
  clients.close();
  assert.deepEqual(closed, ['b', 'a', 'c', 'b']);
  get('d');
  assert.deepEqual(closed.at(-1), 'd', 'nothing is kept after the end');
  assert.equal(keyOf({ a: 1, b: [2] }), keyOf({ b: [2], a: 1 }));
  assert.notEqual(keyOf('secret'), keyOf('Secret'));
  assert.doesNotMatch(keyOf('secret'), /secret/);
});

test('an agent’s option cannot send the account’s secrets elsewhere', () => {
  const { providers } = rig();
  const own = account({ options: { url: 'wss://vendor.example.com' } });
  const of = (llm: Record<string, unknown>) => {
    const wish = agent({
      vendors: { stt: null, llm: 'acme', tts: null },
      vendorOptions: { stt: {}, tts: {}, llm },
    });
    return () => providers.forAgent(wish, [own]);
  };
  for (const options of [
    { url: 'wss://thief.example.com' },
    { base_url: 'http://192.0.2.1' },
    { endpoint: 'thief' },
    { region: ' wss://thief.example.com' },
    { apiHost: 'thief' },
    { region: 'cn.thief.example.com/#' },
    { ca: '-----BEGIN CERTIFICATE-----' },
    { https_proxy: 'thief:3128' },
    { extra: { servers: [{ base_url: 'thief' }] } },
    { extra: ['wss://thief.example.com'] },
  ]) {
    assert.throws(of(options), (error: AppError) => {
      assert.equal(error.code, 'E_CONFIG');
      assert.match(error.message, /^the agent's llm\.options\.\w+: an address may be set in/);
      assert.doesNotMatch(error.message, /thief|canary/);
      return true;
    });
  }
  for (const options of [
    { url: 'wss://vendor.example.com' },
    { model: 'm', top_p: 0.5, domain: 'iat', region: 'cn-shanghai' },
    {},
  ])
    of(options)();
  providers.close();
});

test('accounts that lack something are passed over, unless the agent insists', () => {
  const { providers } = rig();
  const bare = account({ credentials: {} });
  const wrong = account({ options: { speed_limit: 99 } });
  const heavy = account({ options: { weight: -1 } });
  const good = account();
  const llm = (wish: AgentProviders, accounts: VendorAccount[]): string =>
    providers.forAgent(wish, accounts).llm.vendor;
  assert.equal(llm(agent(), [bare, wrong, heavy, good]), 'acme');
  assert.equal(llm(agent(), [bare, wrong, heavy]), 'local', 'the installation’s own');
  const named = agent({ vendors: { stt: null, llm: 'acme', tts: null } });
  assert.equal(llm(named, [bare, good]), 'acme');
  const insists = (id: string): AgentProviders =>
    agent({ vendorConfigs: { stt: null, llm: id, tts: null } });
  const rows: [() => unknown, RegExp][] = [
    [() => llm(named, [bare]), /the llm account "n\d+" \(acme\): credentials\.api_key is missing/],
    [() => llm(named, []), /^the agent's vendors\.llm: credentials\.api_key is missing/],
    [() => llm(insists(bare.id), [bare, good]), /credentials\.api_key is missing/],
    [
      () => llm(insists(wrong.id), [wrong, good]),
      /options\.speed_limit must be a number from 0 to 9/,
    ],
    [
      () => providers.forAgent(agent({ vendors: { stt: 'none', llm: null, tts: null } })),
      /no speech recogniser called "none"; there are local, sim, acme, zen/,
    ],
    [
      () => providers.forAgent(agent({ mode: 'realtime' })),
      /the agent's mode is realtime, but neither/,
    ],
  ];
  for (const [act, expected] of rows) {
    assert.throws(
      act,
      (error: AppError) => error.code === 'E_CONFIG' && expected.test(error.message),
    );
  }
  providers.close();
});

async function saidBy(
  set: ReturnType<ReturnType<typeof rig>['providers']['forAgent']>,
): Promise<string> {
  const { items } = await collect(set.llm.reply(replyRequest('hi'), signal));
  return items.map((part) => (part.type === 'text' ? part.text : '')).join('');
}

test('several accounts and fallbacks stand behind one provider, in order', async () => {
  const { providers, made } = rig();
  const broke = account({ name: 'broke', options: { fails: true }, priority: 1 });
  const next = account({ name: 'next', priority: 2 });
  assert.match(await saidBy(providers.forAgent(agent(), [broke, next])), /"next"/);
  const zen = account({ name: 'zen', vendor: 'zen' });
  const fallbacks = {
    stt: [],
    tts: [],
    llm: [{ vendor: 'zen', configId: null, options: { model: 'z' } }],
  };
  const named = agent({
    vendors: { stt: null, llm: 'acme', tts: null },
    llm: { model: 'own', temperature: null, maxTokens: null },
    fallbacks,
  });
  assert.match(await saidBy(providers.forAgent(named, [broke, zen])), /"zen"/);
  const models = made.map(({ setting, model }) => [setting.slice(17, 20), model]);
  assert.deepEqual(
    models.slice(-2),
    [
      ['bro', 'own'],
      ['zen', 'z'],
    ],
    'the agent’s model is its own vendor’s',
  );
  // What cannot be used at all does not end the call where there is something else.
  assert.match(await saidBy(providers.forAgent(named, [zen])), /"zen"/);
  const local = { ...fallbacks, llm: [{ vendor: 'local', configId: null, options: {} }] };
  assert.notEqual(
    await saidBy(providers.forAgent(agent({ ...named, fallbacks: local }), [broke])),
    '',
  );
  const gone = { ...fallbacks, llm: [{ vendor: null, configId: 'gone', options: {} }] };
  assert.match(
    await saidBy(providers.forAgent(agent({ ...named, fallbacks: gone }), [next])),
    /"next"/,
  );
  providers.close();
});

test('a voice that fails is followed by the local one, and its own voices are not asked of others', async () => {
  const { providers } = rig();
  const tts = account({ kind: 'tts', options: { fails: true } });
  const set = providers.forAgent(agent({ voice: 'anna' }), [tts]);
  const sorry = promptText('apology', 'en');
  const { pcm } = await speakAll(set.tts, { text: sorry, language: 'en', voice: 'anna' });
  assert.ok(pcm.length > 8_000, 'an apology is recorded in every installation');
  // This one has no voice for other texts, and does not say something else instead.
  await assert.rejects(
    speakAll(set.tts, { text: 'Seventeen zebras.', language: 'en' }),
    /scripted E_PROVIDER_SERVER/,
  );
  providers.close();
});

test('of equal priority, weights decide; a new call may get another account, one call keeps its own', async () => {
  const { providers, clock } = rig();
  const heavy = account({ name: 'heavy', options: { weight: 9 } });
  const light = account({ name: 'light', options: { weight: 1 } });
  const never = account({ name: 'never', priority: 200 });
  const count = { heavy: 0, light: 0, never: 0 };
  for (let n = 0; n < 400; n++) {
    clock.advance(100);
    const set = providers.forAgent(agent(), [heavy, light, never]);
    const first = await saidBy(set);
    assert.equal(await saidBy(set), first);
    count[(/"(\w+)"/.exec(first)?.[1] ?? 'never') as 'heavy'] += 1;
  }
  assert.ok(count.heavy > 320 && count.light > 10 && count.never === 0, JSON.stringify(count));
  providers.close();
});

test('a realtime agent gets a speech-to-speech model besides, with its own voice', () => {
  const { providers, made } = rig();
  const speech = { speed: null, volume: null, realtimeVoice: 'river' };
  const wish = agent({
    ...{ mode: 'realtime' as const, voice: 'anna', speech },
    vendors: { stt: null, llm: null, tts: null, realtime: 'acme' },
  });
  const set = providers.forAgent(wish, [account({ kind: 'speech' })]);
  assert.equal(set.realtime?.vendor, 'acme');
  assert.deepEqual(
    made.map(({ kind, voice }) => [kind, voice]),
    [['realtime', 'river']],
  );
  assert.equal(providers.forAgent(agent()).realtime, null);
  providers.close();
});

test('a tap sees every single vendor, with its prices in the account’s currency', async () => {
  const { providers } = rig();
  const prices = { llm_per_1m_input: 2, currency: 'CNY' };
  const broke = account({ options: { fails: true }, priority: 1, prices, currency: 'CNY' });
  const foreign = account({ priority: 2, prices: { ...prices, currency: 'EUR' }, currency: 'CNY' });
  const names: ProviderName[] = [];
  const asked: number[] = [];
  const tap: ProviderTap = {
    stt: (stt) => stt,
    tts: (tts) => tts,
    realtime: (realtime) => realtime,
    llm: (llm, name) => {
      const at = names.push(name) - 1;
      return {
        ...llm,
        reply: (request, given) => {
          asked.push(at);
          return llm.reply(request, given);
        },
      };
    },
  };
  await saidBy(tapped(providers.forAgent(agent(), [broke, foreign]), tap));
  assert.deepEqual(asked, [0, 1]);
  assert.deepEqual(
    names.map((name) => name.prices?.llm_per_1m_input ?? null),
    [2, null],
  );
  providers.close();
});

test('every kind is really tried out, and its client closed again', async () => {
  const { providers, made } = rig();
  for (const kind of ['stt', 'llm', 'tts', 'realtime'] as const) {
    await providers.probe(account({ kind }), signal);
    await assert.rejects(
      providers.probe(account({ kind, options: { fails: true } }), signal),
      /scripted E_PROVIDER_SERVER/,
    );
    await assert.rejects(
      providers.probe(account({ kind, credentials: {} }), signal),
      /api_key is missing/,
    );
  }
  assert.deepEqual(
    made.map(({ kind }) => kind),
    ['stt', 'stt', 'llm', 'llm', 'tts', 'tts', 'realtime', 'realtime'],
  );
  assert.ok(made.every(({ isClosed }) => isClosed));
  assert.deepEqual(
    providers.members().filter(({ isRemote }) => isRemote),
    [],
    'a trial is no traffic',
  );
  providers.close();
});
