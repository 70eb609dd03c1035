/** Fakes of the facade's ports, holding data the tests put in, and a check of answers against the OpenAPI document. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { Compile } from 'typebox/compile';
import type { TSchema } from 'typebox';
import { createApi, type ApiOptions } from '#api/server.ts';
import type { ApiPorts, Readiness, StoredKey } from '#api/ports.ts';
import type { Role } from '#lib/actor.ts';
import type { RecordDetail, RecordQuery, RecordRow } from '#lib/call-record.ts';
import type { ApiServer } from '#api/routing.ts';
import type { Clock } from '#lib/clock.ts';
import { SimulatedClock } from '#lib/clock.ts';
import { newId } from '#lib/ids.ts';
import { silentLog } from '#lib/log.ts';
import type { ConsoleRecordQuery } from '#lib/console-record.ts';
import type { HeardRecording } from '#store/recordings.ts';
import type { Message } from '#lib/call-events.ts';
import {
  isLiveStatus,
  type CallService,
  type LiveCallView,
  type PlaceCall,
  type PlaceResult,
} from '#sessions/call-service-types.ts';
import { answeringFakes, type AnsweringFakes } from './_answering-fakes.ts';
import { makeCampaigns, type CampaignFakes } from './_campaign-fakes.ts';
import { makeControl, type ControlFakes } from './_control-fakes.ts';
import { makeFamilies, type FamilyFakes } from './_family-fakes.ts';
import { makeIntelligence, type IntelligenceFakes } from './_intelligence-fakes.ts';
import { makeTrunks, type TrunkFakes } from './_trunk-fakes.ts';
import { makeVendors, type VendorFakes } from './_vendor-fakes.ts';
import { makeVoice, type VoiceFakes } from './_voice-fakes.ts';
import { makeWebhooks, type WebhookFakes } from './_webhook-fakes.ts';
import { identityOf } from './_identity-fakes.ts';
import { recordKeepingOf } from './_record-fakes.ts';
import { makeSockets, type SocketFakes } from './_socket-fakes.ts';

export const ACCOUNT = '11111111-1111-4111-8111-111111111111';
export const OTHER_ACCOUNT = '22222222-2222-4222-8222-222222222222';
export const AGENT = '33333333-3333-4333-8333-333333333333';
export const OTHER_AGENT = '44444444-4444-4444-8444-444444444444';
export const RECORD = '55555555-5555-4555-8555-555555555555';
/** Of `RECORD`. */
export const RECORDING = '55555555-5555-4555-8555-0000000000aa';
export const LIVE = '66666666-6666-4666-8666-666666666666';
export const MISSING = '77777777-7777-4777-8777-777777777777';

export type Fakes = {
  readonly ports: ApiPorts;
  readonly keys: Map<string, StoredKey>;
  /** `<user> <account>` to role. */
  readonly roles: Map<string, Role>;
  readonly records: Map<string, RecordDetail>;
  readonly calls: Map<string, LiveCallView>;
  readonly messages: Map<string, Message[]>;
  readonly queries: RecordQuery[];
  readonly placed: PlaceCall[];
  readonly hangups: { id: string; reason: string | null }[];
  readonly families: FamilyFakes;
  readonly answering: AnsweringFakes;
  page: { total: number; totalExact: boolean; hasNext: boolean };
  placeResult: ((request: PlaceCall) => Promise<PlaceResult>) | null;
  readonly vendors: VendorFakes;
  readonly trunks: TrunkFakes;
  readonly intelligence: IntelligenceFakes;
  readonly webhooks: WebhookFakes;
  readonly campaigns: CampaignFakes;
  readonly sockets: SocketFakes;
  readonly voice: VoiceFakes;
  readonly control: ControlFakes;
  storeError: Error | null;
  audio: Buffer | null;
  audioFormat: 'wav' | 'ogg';
  readonly heard: HeardRecording[];
  /** Ids of recordings that were removed. */
  readonly removed: string[];
  readonly consoleQueries: ConsoleRecordQuery[];
  ready: ReturnType<Readiness['check']>;
  /** Makes a key and gives its text. */
  addKey(changes?: Partial<StoredKey>): string;
};

export function makeFakes(): Fakes {
  const keys = new Map<string, StoredKey>();
  const calls = new Map<string, LiveCallView>([[LIVE, makeCall()]]);
  const fakes: Fakes = {
    ports: {} as ApiPorts,
    keys,
    roles: new Map(),
    records: new Map([[RECORD, makeRecord()]]),
    calls,
    messages: new Map(),
    ...{ heard: [], removed: [], consoleQueries: [] },
    queries: [],
    placed: [],
    hangups: [],
    families: makeFamilies(() => fakes.records.values()),
    answering: answeringFakes(),
    vendors: makeVendors(),
    trunks: makeTrunks(),
    intelligence: makeIntelligence(),
    webhooks: makeWebhooks(),
    campaigns: makeCampaigns(),
    control: makeControl(),
    voice: makeVoice(),
    sockets: makeSockets(calls, makeCall, () => {
      if (fakes.storeError !== null) throw fakes.storeError;
    }),
    page: { total: 1, totalExact: true, hasNext: false },
    placeResult: null,
    storeError: null,
    audio: Buffer.from(Array.from({ length: 256 }, (_, at) => at)),
    audioFormat: 'wav',
    ready: {
      state: 'accepting',
      checks: { sip: 'up', media: 'up', database: 'up', bus: 'off' },
    },
    addKey: (changes = {}) => {
      const prefix = randomBytes(4).toString('hex');
      const text = `cy_${prefix}_${randomBytes(32).toString('base64url')}`;
      keys.set(prefix, {
        keyId: newId(),
        accountId: ACCOUNT,
        role: 'admin',
        keyHash: createHash('sha256').update(text).digest(),
        agentIds: null,
        ipAllow: null,
        expiresAtMs: null,
        revokedAtMs: null,
        ...changes,
      });
      return text;
    },
  };
  return Object.assign(fakes, { ports: portsOf(fakes) });
}

function portsOf(fakes: Fakes): ApiPorts {
  const guard = (): void => {
    if (fakes.storeError !== null) throw fakes.storeError;
  };
  return {
    identity: identityOf(fakes.keys, fakes.roles),
    vendors: fakes.vendors.ports,
    trunks: fakes.trunks.ports,
    intelligence: fakes.intelligence.intelligence,
    webhooks: fakes.webhooks.ports,
    campaigns: fakes.campaigns.ports,
    reach: { allowPrivate: [] },
    records: {
      list: async (accountId, query) => {
        guard();
        fakes.queries.push(query);
        const rows: RecordRow[] = accountId === ACCOUNT ? [...fakes.records.values()] : [];
        const last = rows.at(-1);
        const { hasNext, ...totals } = fakes.page;
        const next = hasNext && last !== undefined ? { key: last.startTime, id: last.id } : null;
        return { rows, ...totals, next };
      },
      get: async (accountId, id) => {
        guard();
        return accountId === ACCOUNT ? (fakes.records.get(id) ?? null) : null;
      },
      timeZone: async () => 'Asia/Shanghai',
    },
    recordKeeping: recordKeepingOf({
      ...{ records: fakes.records, agents: [AGENT, OTHER_AGENT], guard },
      blank: () => makeRecord(),
    }),
    recordings: {
      open: async () => {
        const { audio } = fakes;
        if (audio === null) return null;
        return {
          format: fakes.audioFormat,
          bytes: audio.length,
          read: (from, to) => Readable.from([audio.subarray(from, to + 1)]),
        };
      },
      noteHeard: async (_actor, heard) => void fakes.heard.push(heard),
      callOf: async (accountId, id) => (accountId === ACCOUNT && id === RECORDING ? RECORD : null),
      remove: async (_accountId, { id }) => void fakes.removed.push(id),
    },
    recordingList: {
      listForConsole: async (_actor, query) => {
        guard();
        fakes.consoleQueries.push(query);
        return { rows: [...fakes.records.values()], total: 1, totalExact: true, next: null };
      },
    },
    readiness: { check: () => fakes.ready },
    calls: callsOf(fakes),
    sockets: fakes.sockets.ports,
    voiceTurns: fakes.voice.ports,
    callControl: fakes.control.ports,
    families: fakes.families.ports,
    answering: fakes.answering.ports,
  };
}

function callsOf(fakes: Fakes): CallService {
  const find = (accountId: string, id: string): LiveCallView | null => {
    const call = fakes.calls.get(id);
    return call?.accountId === accountId ? call : null;
  };
  return {
    place: async (request) => {
      fakes.placed.push(request);
      if (fakes.placeResult !== null) return fakes.placeResult(request);
      const call = makeCall({ id: newId(), direction: 'outbound', status: 'queued' });
      return { ok: true, call: { ...call, toNumber: request.to, callerPhone: request.to } };
    },
    get: async (accountId, id) => find(accountId, id),
    hangup: async (accountId, id, how) => {
      const call = find(accountId, id);
      if (call === null) return null;
      fakes.hangups.push({ id, reason: how.reason });
      const ended: LiveCallView = { ...call, status: 'ended', outcome: 'completed' };
      fakes.calls.set(id, ended);
      return ended;
    },
    conversation: async (accountId, id) => {
      if (find(accountId, id) === null) return null;
      return { status: 'active', messages: fakes.messages.get(id) ?? [] };
    },
    live: async (accountId) =>
      [...fakes.calls.values()].filter(
        (call) => call.accountId === accountId && isLiveStatus(call.status),
      ),
  };
}

export function makeCall(changes: Partial<LiveCallView> = {}): LiveCallView {
  return {
    id: LIVE,
    accountId: ACCOUNT,
    agentId: AGENT,
    agentName: 'Default agent',
    direction: 'inbound',
    channel: 'phone',
    status: 'answered',
    outcome: null,
    hangupReason: null,
    endedBy: null,
    callerName: null,
    callerPhone: '+15550100123',
    callerApp: null,
    fromNumber: '+15550100123',
    toNumber: '1000',
    startTime: '2026-01-01T00:00:00.000Z',
    answerTime: '2026-01-01T00:00:01.000Z',
    endTime: null,
    durationSeconds: 7,
    recordingStatus: 'active',
    recordingId: null,
    trunkId: null,
    trunkTransport: null,
    customerId: null,
    campaignId: null,
    squadId: null,
    ruleId: null,
    quality: null,
    latency: null,
    sipCallId: 'call-1@192.0.2.1',
    sipStatus: 200,
    node: 'node-1',
    variables: {},
    metadata: {},
    ...changes,
  };
}

export function makeRecord(changes: Partial<RecordDetail> = {}): RecordDetail {
  return {
    id: RECORD,
    agentId: AGENT,
    agentName: 'Default agent',
    callerName: 'Ann',
    callerPhone: '+15550100123',
    callerApp: null,
    direction: 'inbound',
    status: 'ended',
    startTime: '2026-01-01T00:00:00.000Z',
    durationSeconds: 42,
    hangupReason: 'user',
    outcome: 'completed',
    summary: 'Call back at 13800138000',
    recordingStatus: 'ready',
    source: 'core',
    channel: 'phone',
    fromNumber: '+15550100123',
    toNumber: '1000',
    answerTime: '2026-01-01T00:00:01.000Z',
    endTime: '2026-01-01T00:00:43.000Z',
    endedBy: 'caller',
    messages: [
      { role: 'assistant', content: 'Hello', timestamp: 1767225601.25 },
      { role: 'user', content: 'My number is 13800138000', timestamp: 1767225603, start_ms: 2000 },
    ],
    metadata: { total_tokens: 12, avg_confidence: null, note: 'mail ann@example.com' },
    variables: { name: 'Ann' },
    customerId: null,
    trunkId: null,
    ruleId: null,
    campaignId: null,
    squadId: null,
    recording: {
      id: '99999999-9999-4999-8999-999999999999',
      status: 'ready',
      durationMs: 42_000,
      uri: 'recordings/a.wav',
    },
    quality: {
      mos: 4.3,
      mos_min: 4.1,
      loss_pct: 0,
      jitter_ms: 1.5,
      codec: 'PCMA',
      fault: null,
    },
    latency: {
      turns: 1,
      mouth_to_ear_ms: { p50: 500, p90: 500, max: 500 },
      parts_ms: {
        jitter: { p50: 40, p90: 40, max: 40 },
        endpointing: { p50: 200, p90: 200, max: 200 },
        stt: { p50: 60, p90: 60, max: 60 },
        llm: { p50: 100, p90: 100, max: 100 },
        tts: { p50: 80, p90: 80, max: 80 },
        pacing: { p50: 20, p90: 20, max: 20 },
      },
    },
    cost: null,
    summaryMeta: null,
    sipCallId: 'call-1@192.0.2.1',
    sipStatus: 200,
    node: 'node-1',
    createdAt: '2026-01-01T00:00:00.000Z',
    updatedAt: '2026-01-01T00:00:43.000Z',
    ...changes,
  };
}

/** A facade over fakes; the caller closes it. Time stands still unless the clock is moved. */
export async function makeApi(
  fakes: Fakes,
  options: Partial<ApiOptions> & { clock?: Clock } = {},
): Promise<ApiServer> {
  return createApi({
    ports: fakes.ports,
    log: silentLog,
    version: '0.0.0-test',
    clock: new SimulatedClock(),
    // Far from what the tests send, so that only the tests about rates see them.
    limits: {
      requestRate: { ratePerS: 1000, burst: 10_000 },
      callRate: { ratePerS: 1000, burst: 10_000 },
    },
    ...options,
  });
}

type Document = {
  readonly paths: Record<string, Record<string, { responses: Record<string, unknown> }>>;
  readonly components: {
    schemas: Record<string, unknown>;
    responses: Record<string, unknown>;
  };
};

/** Fails unless `body` is what the OpenAPI document declares for this route and status, without any other field. */
export function assertDeclared(app: ApiServer, route: string, status: number, body: unknown): void {
  const document = app.swagger() as unknown as Document;
  const [method = '', path = ''] = route.split(' ');
  const named = document.paths[path]?.[method.toLowerCase()]?.responses[status];
  const shared = (named as { $ref?: string } | undefined)?.$ref?.split('/').at(-1);
  const response = shared === undefined ? named : document.components.responses[shared];
  assert.ok(response, `${route} declares no ${status}`);
  const { content } = response as { content: Record<string, { schema: unknown }> };
  const schema = closed(content['application/json']?.schema, document) as TSchema;
  const validator = Compile(schema);
  assert.deepEqual(validator.Errors(body), [], `${route} ${status} is not what is declared`);
}

/** The schema without references, and closed: an undeclared field is a fault. */
function closed(schema: unknown, document: Document): unknown {
  if (Array.isArray(schema)) return schema.map((each) => closed(each, document));
  if (typeof schema !== 'object' || schema === null) return schema;
  const { $ref, ...rest } = schema as Record<string, unknown>;
  if (typeof $ref === 'string') {
    return closed(document.components.schemas[$ref.split('/').at(-1) ?? ''], document);
  }
  const entries = Object.entries(rest).map(([key, value]) => [key, closed(value, document)]);
  const copy = Object.fromEntries(entries) as Record<string, unknown>;
  return 'properties' in copy ? { ...copy, additionalProperties: false } : copy;
}
