/** Composition root: builds every part, plugs ports together, and owns the order of starting and stopping. */
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { EventHub } from '#api/event-hub.ts';
import { recordKeeping } from '#api/record-keeping.ts';
import { createApi, listenApi } from '#api/server.ts';
import type { ApiPorts } from '#api/ports.ts';
import { systemClock } from '#lib/clock.ts';
import { toAppError } from '#lib/errors.ts';
import type { Log } from '#lib/log.ts';
import { normalizePhone } from '#lib/phone.ts';
import { unrestricted, type Trunk, type TrunkSource } from '#lib/trunk.ts';
import { createAudioFiles, type AudioFiles } from '#media/mix/audio-file.ts';
import { createMediaEngine } from '#media/media-client.ts';
import type { MediaEngine } from '#media/types.ts';
import { createProviders, type Providers } from '#providers/registry.ts';
import { AudioPump } from '#sessions/audio-pump.ts';
import type { CallDeps } from '#sessions/call.ts';
import { Calls, type CallsOptions } from '#sessions/calls.ts';
import type { TrunkDirectory } from '#sessions/ports.ts';
import { createSipAgent, type SipRequester } from '#sip/agent.ts';
import { parseTrunk } from '#sip/trunk.ts';
import type { SipAgent } from '#sip/types.ts';
import { createAgentAdmin } from '#store/agent-admin.ts';
import { createAuditTrail } from '#store/audit-trail.ts';
import { createBindings } from '#store/bindings.ts';
import { openStore, type Store } from '#store/store.ts';
import { AccessList } from './access.ts';
import { addressToDial, addressView } from './addresses.ts';
import { authOptions, authSettings } from './app-auth.ts';
import type { Config } from './config.ts';
import { openCampaigns } from './campaigns.ts';
import { openDataDir } from './data-dir.ts';
import { familyPorts } from './families.ts';
import { openIntelligence } from './intelligence.ts';
import { openRecordingParts } from './recordings.ts';
import { startSipEngine } from './sip-engine.ts';
import { socketPorts } from './sockets.ts';
import { openSquads } from './squads.ts';
import { countWorkers, createTelemetry } from './telemetry.ts';
import { openSounds } from './sounds.ts';
import { openTools } from './tools.ts';
import { openTrunkParts } from './trunk-parts.ts';
import { chooseVad } from './vad-choice.ts';
import { startVendors } from './vendors.ts';
import { openWebhooks } from './webhooks.ts';

export type App = {
  /** What to tell the person at the terminal. */
  readonly banner: readonly string[];
  liveCalls(): number;
  /** Where HTTP and SIP really listen, for tests with port 0. */
  readonly httpUrl: string;
  readonly sipAddresses: readonly string[];
  /** Live calls may finish for `graceMs` (or until `hurry` aborts), then everything stops in order. Idempotent. */
  stop(graceMs: number, hurry?: AbortSignal): Promise<void>;
};

/** Times that a test may shorten. */
export type AppTiming = Pick<CallsOptions, 'ringElsewhereMs'>;

const VERSION = (
  JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
    version: string;
  }
).version;

const USER_AGENT = `callyard/${VERSION}`;

/** Errors: E_CONFIG, E_PORT_IN_USE, E_DATA_DIR_LOCKED, E_DATABASE_UNREACHABLE…, each one clear line, nothing left running. */
export async function startApp(config: Config, log: Log, timing: AppTiming = {}): Promise<App> {
  await using starting = new AsyncDisposableStack();
  const parts = await startParts(config, log, starting, timing);
  const { store, sip, calls, dataDir, providers } = parts;
  const state = { isDraining: false };
  const ports = apiPorts(parts, state);
  const api = await createApi({
    ...{ ports, log, version: VERSION, hasDocs: config.hasDocs },
    ...(await authSettings(config, dataDir, log)),
  });
  starting.defer(() => api.close());
  const httpUrl = await listenApi(api, config.httpHost, config.httpPort);
  calls.accept();
  parts.recordings.start();
  parts.intelligence.start();
  parts.webhooks.start();
  parts.trunks.start();
  parts.campaigns.start();
  const running = starting.move();
  let stopping: Promise<void> | undefined;
  const stop = async (graceMs: number, hurry?: AbortSignal): Promise<void> => {
    state.isDraining = true;
    await Promise.all([parts.campaigns.stopDialling(), calls.drain(graceMs, hurry)]);
    await running.disposeAsync();
  };
  return {
    banner: bannerOf({ config, httpUrl, listening: sip.listening, store, providers }),
    liveCalls: () => calls.liveCount,
    httpUrl,
    sipAddresses: sip.listening,
    stop: (graceMs, hurry) => (stopping ??= stop(graceMs, hurry)),
  };
}

type Parts = Awaited<ReturnType<typeof startParts>>;

/** Everything below HTTP, in the order of design.md 5; `owner` gives it back in reverse. */
async function startParts(
  config: Config,
  log: Log,
  owner: AsyncDisposableStack,
  timing: AppTiming,
) {
  const base = await startBase(config, log, owner);
  const line = await startLine(config, log, owner, base);
  const calls = makeCalls(config, log, timing, { ...base, ...line });
  const facade = await openFacade(config, log, owner, { ...base, ...line, calls });
  return { ...base, ...line, calls, ...facade };
}

type Base = Awaited<ReturnType<typeof startBase>>;
type Line = Awaited<ReturnType<typeof startLine>>;

/** What calls are made of, before there is a way for any to come: store, vendors, media, and what a crash has left. */
async function startBase(config: Config, log: Log, owner: AsyncDisposableStack) {
  const vad = await chooseVad(config);
  const dir = openDataDir(config.dataDir);
  owner.defer(() => dir.release());
  const dataDir = dir.path;
  const node = hostname();
  const store = await openStore({ ...storeOptions(config, dataDir), node, log });
  owner.defer(() => store.close());
  const providers = createProviders(providerOptions(config, dataDir, log));
  owner.defer(() => providers.close());
  const vendors = startVendors({
    ...{ database: store.database, sealer: store.sealer, providers, log },
    ...{ aliyunMetaUrl: config.aliyunMetaUrl, aliyunNlsUrl: config.aliyunNlsUrl },
  });
  owner.defer(() => vendors.close());
  const hub = new EventHub((error) => log.error('event.listenerFailed', { error }));
  const telemetry = createTelemetry({
    journal: store.journal,
    interim: (event, agentId) => hub.publishInterim(event, agentId),
    outboxPending: () => store.projection.lagEvents,
    providers,
  });
  const onClosed = telemetry.mediaClosed;
  const { rtpPorts, mediaWorkers: workers, mediaRealtime: mayBeRealtime } = config;
  const media = createMediaEngine({ rtpPorts, workers, mayBeRealtime, log, onClosed, vad });
  countWorkers(telemetry.metrics, media);
  owner.defer(() => media.close());
  const recordings = await openRecordingParts({ dataDir, store, log, settings: config });
  owner.defer(() => recordings.close());
  await store.recover(recordings.repair);
  await Promise.all([warmUp(providers, store), media.ready()]);
  const { journal } = telemetry;
  owner.defer(store.journal.onAppend((entry) => hub.publish(entry)));
  const intelligence = openIntelligence({ store, providers, vendors, journal, node, log });
  owner.defer(() => intelligence.close());
  const squads = openSquads({ store, providers, vendors, telemetry, intelligence, node, log });
  owner.defer(() => squads.close());
  const audioFiles = createAudioFiles();
  const reach = { allowPrivate: config.outboundAllow };
  const tools = openTools({
    ...{ store, audioFiles, log, userAgent: USER_AGENT, reach },
    providersFor: squads.forCalls.providersFor,
  });
  owner.defer(() => tools.close());
  const sounds = openSounds({ audioFiles, reach, dataDir, log, holdMusic: config.holdMusic });
  const talking = {
    intelligence,
    squads,
    voiceTurns: squads.voiceTurns,
    audioFiles,
    tools,
    sounds,
  };
  return {
    dataDir,
    node,
    store,
    providers,
    vendors,
    hub,
    telemetry,
    media,
    recordings,
    ...talking,
  };
}

/** The way to the other side: who may call, the SIP engine, the trunks. */
async function startLine(config: Config, log: Log, owner: AsyncDisposableStack, base: Base) {
  const { store, telemetry, node } = base;
  const environmentTrunk = readTrunk(config);
  const shownAddress = addressView(config.publicAddress, config.localNets);
  const access = await openAccess(config, environmentTrunk, store, log);
  owner.defer(() => access.close());
  const sip = await startSip(config, access, log, owner);
  const trunks = openTrunkParts({
    ...{ store, sip, access, journal: telemetry.journal, node, shownAddress, log },
    userAgent: USER_AGENT,
  });
  owner.defer(() => trunks.close());
  return { environmentTrunk, shownAddress, access, sip, trunks };
}

function makeCalls(config: Config, log: Log, timing: AppTiming, parts: Base & Line): Calls {
  const { store, media, recordings, intelligence, squads, telemetry, node } = parts;
  const { environmentTrunk, shownAddress, access, sip } = parts;
  return new Calls({
    deps: {
      ...callDeps(bindTo(config.rtpHost, media), (call) => recordings.newRecording(call), log),
      onEnded: intelligence.callEnded,
      phrases: squads.phrases,
      sounds: parts.sounds,
    },
    sip,
    journal: telemetry.journal,
    agents: store.agents,
    rules: store.rules,
    trunks: trunkDirectory(store, access, environmentTrunk),
    contacts: store.contactPolicy,
    accounts: store.accounts,
    recordByDefault: () => config.recording ?? !access.hasTrunk,
    node,
    maxCalls: config.maxCalls,
    media: { codecs: config.codecs, srtp: config.srtp },
    ...timing,
    ...squads.forCalls,
    talk: parts.tools.talk,
    normaliseNumber: normalizePhone,
    shownAddress,
  });
}

/** What the HTTP facade shows and sets going besides calls. */
async function openFacade(
  config: Config,
  log: Log,
  owner: AsyncDisposableStack,
  parts: Base & Line & { readonly calls: Calls },
) {
  const { store, telemetry, node, hub, squads, environmentTrunk, calls, sip, dataDir } = parts;
  const { database, sealer } = store;
  const families = familyPorts({
    ...{ telemetry, node, environmentTrunk, database, sealer },
    ...{ metricsAllow: config.metricsAllow, countryCode: config.countryCode },
    ...{ currency: config.currency, hub, lagEvents: () => store.projection.lagEvents },
    load: () => calls.liveCount / config.maxCalls,
  });
  const reach = { allowPrivate: config.outboundAllow };
  const webhooks = openWebhooks({
    ...{
      store,
      reach,
      metrics: telemetry.metrics,
      node,
      log,
      toolSecrets: parts.tools.toolSecrets,
    },
    userAgent: USER_AGENT,
  });
  owner.defer(() => webhooks.close());
  const campaigns = openCampaigns({
    ...{ store, calls, sip, journal: telemetry.journal, dataDir, node, log },
    defaults: storeOptions(config, dataDir).defaults,
    environmentNumber: environmentTrunk?.fromNumber ?? null,
  });
  owner.defer(() => campaigns.close());
  const callControl = openCallControl(calls, store, parts.audioFiles, log, owner);
  const answering = { ...answeringPorts(store, config.countryCode), ...squads.ports };
  const sockets = await socketPorts(calls, database);
  return { families, reach, webhooks, campaigns, callControl, answering, sockets };
}

function openCallControl(
  calls: Calls,
  { database }: Store,
  audioFiles: AudioFiles,
  log: Log,
  owner: AsyncDisposableStack,
): ApiPorts['callControl'] {
  const audit = createAuditTrail({ database, clock: systemClock, log });
  owner.defer(() => audit.close());
  return { control: calls.control, audioFiles, audit };
}

function callDeps(media: MediaEngine, newRecording: CallDeps['newRecording'], log: Log): CallDeps {
  const pump = new AudioPump(systemClock, (error) =>
    log.error('pump.memberFailed', { error: toAppError(error) }),
  );
  return { media, pump, clock: systemClock, log, newRecording };
}

async function openAccess(
  config: Config,
  environmentTrunk: Trunk | null,
  store: Store,
  log: Log,
): Promise<AccessList<TrunkSource>> {
  const access = new AccessList({
    allow: config.sipAllow,
    environmentTrunk,
    trunkSources: () => store.trunks.sources(),
    clock: systemClock,
    log,
  });
  await access.refresh();
  return access;
}

/** Contract 4.6: any active row of the account beats the environment's trunk. */
function trunkDirectory(
  store: Store,
  access: AccessList<TrunkSource>,
  environmentTrunk: Trunk | null,
): TrunkDirectory {
  const environment = environmentTrunk === null ? [] : [unrestricted(environmentTrunk)];
  return {
    of: async (accountId) => {
      const own = await store.trunks.of(accountId);
      return own.hasActive ? own : { ...own, usable: environment };
    },
    at: (address) => access.at(address),
    believes: (address) => access.believes(address),
  };
}

async function startSip(
  config: Config,
  access: AccessList<TrunkSource>,
  log: Log,
  owner: AsyncDisposableStack,
): Promise<SipAgent & SipRequester> {
  const engine = await startSipEngine(config, log);
  owner.defer(() => engine.close());
  const sip = await createSipAgent({
    host: engine.host,
    // Read anew at every connection: an engine that was restarted has another port.
    get port() {
      return engine.controlPort;
    },
    get secret() {
      return engine.secret;
    },
    log,
    clock: systemClock,
    allow: (address) => access.allows(address),
    trustAsserted: (address) => access.isTrunk(address),
    userAgent: USER_AGENT,
  });
  owner.defer(() => sip.close());
  return sip;
}

function readTrunk(config: Config): Trunk | null {
  if (config.trunk === null) return null;
  return parseTrunk({
    uri: config.trunk,
    user: config.trunkUser,
    password: config.trunkPassword,
    localHost: config.sipLocalHost,
    displayName: config.sipDisplayName,
    ...{ codecs: config.codecs, srtp: config.srtp },
  });
}

/** What the store takes of the settings. */
export function storeOptions(config: Config, dataDir: string) {
  return {
    dataDir,
    databaseUrl: config.databaseUrl ?? undefined,
    adminEmail: config.adminEmail,
    adminKey: config.adminKey ?? undefined,
    masterKey: config.masterKey ?? undefined,
    oldMasterKeys: config.oldMasterKeys ?? undefined,
    auth: authOptions(config),
    defaults: {
      timezone: config.timezone ?? Intl.DateTimeFormat().resolvedOptions().timeZone,
      language: config.language,
      countryCode: config.countryCode,
      currency: config.currency,
    },
    trunkDefaults: { localHost: config.sipLocalHost, displayName: config.sipDisplayName },
  };
}

function providerOptions(config: Config, dataDir: string, log: Log) {
  const { llmBaseUrl, llmApiKey, llmModel, sttVendor, llmVendor, ttsVendor, simScript } = config;
  const llm =
    llmBaseUrl === null
      ? null
      : { baseUrl: llmBaseUrl, apiKey: llmApiKey ?? '', model: llmModel ?? '' };
  const settings = { llm, sttVendor, llmVendor, ttsVendor, simScript };
  return { log, clock: systemClock, cacheDir: join(dataDir, 'cache', 'speech'), settings };
}

/** The default agent's greeting is made before the first caller waits for it. */
async function warmUp(providers: Providers, store: Store): Promise<void> {
  const agent = await store.agents.defaultFor(await store.defaultAccount());
  await providers.warmUp(
    agent.greeting === null ? [] : [{ text: agent.greeting, language: agent.language }],
  );
}

function answeringPorts(store: Store, countryCode: string | null) {
  return {
    rules: store.rules,
    agentAdmin: createAgentAdmin(store.database, countryCode),
    bindings: createBindings(store.database, countryCode),
  };
}

function apiPorts(parts: Parts, state: { readonly isDraining: boolean }): ApiPorts {
  const { store, sip, calls, media, families, recordings } = parts;
  return {
    identity: store.identity,
    records: store.records,
    recordKeeping: recordKeeping(store),
    recordings: recordings.files,
    recordingList: recordings.recordings,
    readiness: {
      check: () => ({
        state: state.isDraining ? ('draining' as const) : ('accepting' as const),
        checks: {
          sip: sip.isUp ? ('up' as const) : ('down' as const),
          media: media.isUp ? ('up' as const) : ('down' as const),
          database: store.state(),
          bus: 'off' as const,
        },
      }),
    },
    calls,
    callControl: parts.callControl,
    families,
    vendors: parts.vendors.ports,
    trunks: parts.trunks.ports,
    intelligence: parts.intelligence.intelligence,
    answering: parts.answering,
    sockets: parts.sockets,
    voiceTurns: parts.voiceTurns,
    webhooks: parts.webhooks.ports,
    campaigns: parts.campaigns.ports,
    reach: parts.reach,
  };
}

/** CALLYARD_RTP_HOST: media on one address whatever the INVITE arrived on. */
function bindTo(rtpHost: string | null, media: MediaEngine): MediaEngine {
  if (rtpHost === null) return media;
  return {
    open: (options) => media.open({ ...options, localAddress: rtpHost }),
    census: () => media.census(),
    close: () => media.close(),
  };
}

/** A generated key is shown, or nobody would ever know it; one that was set is known already and stays out of logs. */
function describeKey(store: Store): string {
  const key = store.adminKey();
  if (key === null) return 'not known until the database is back';
  return key.source === 'setting'
    ? `${key.key.slice(0, 11)}… (set by CALLYARD_ADMIN_KEY)`
    : key.key;
}

function bannerOf(facts: {
  readonly config: Config;
  readonly httpUrl: string;
  readonly listening: readonly string[];
  readonly store: Store;
  readonly providers: Providers;
}): string[] {
  const { config, httpUrl, listening, store, providers } = facts;
  const address = addressToDial(config.publicAddress, listening);
  const port = /:(\d+)$/.exec(listening[0] ?? '')?.[1] ?? String(config.sipPort);
  const suffix = port === '5060' ? '' : `:${port}`;
  return [
    '',
    `  Callyard ${VERSION} is ready.`,
    '',
    `  Call it     sip:hello@${address}${suffix}   (any user part; UDP or TCP)`,
    `  API         ${httpUrl}   docs: ${httpUrl}/docs`,
    `  API key     ${describeKey(store)}`,
    `  Data        ${config.dataDir}${config.databaseUrl === null ? ' (embedded database)' : ''}`,
    ...(providers.hasVoice
      ? []
      : [
          '  Voice       recorded prompts only (optional package for any text: @echogarden/espeak-ng-emscripten)',
        ]),
    '',
  ];
}
