/** Every vendor's simulator with what an account at it needs, so that a call can be had with any of them. */
import { systemClock } from '#lib/clock.ts';
import { startSimNls } from '#providers/sim/aliyun-nls.ts';
import { startSimBaidu } from '#providers/sim/baidu.ts';
import { SIM_DASHSCOPE_KEY, startSimDashscope } from '#providers/sim/dashscope.ts';
import { SIM_IFLYTEK_ACCOUNT, startSimIflytek } from '#providers/sim/iflytek.ts';
import { startOpenAiSim, type OpenAiSim } from '#providers/sim/openai-http.ts';
import { startSimTencent } from '#providers/sim/tencent.ts';
import type { FaultPlan, VendorFault } from '#providers/sim/vendor-server.ts';
import { SIM_APP_ID, SIM_TOKEN, startVolcSim } from '#providers/sim/volcengine.ts';

export type FaultKind = 'stt' | 'llm' | 'tts';

/** An account at a vendor that is nobody's but one call's. */
export type FaultVendor = {
  readonly vendor: string;
  readonly credentials: Readonly<Record<string, string>>;
  readonly options: Readonly<Record<string, unknown>>;
  readonly faults: FaultPlan;
  readonly violations: readonly string[];
  readonly openai: OpenAiSim | null;
  /** Sockets and requests that are open now. */
  readonly open: number;
  close(): Promise<void>;
};

export type FaultVendorName = keyof typeof MAKERS;

export type FaultWorld = {
  readonly words: Readonly<Record<string, string>>;
  /** What the language model answers. */
  readonly reply: string;
  /** Good tokens of Aliyun. */
  readonly tokens: readonly string[];
};

type Parts = Omit<FaultVendor, 'vendor' | 'open' | 'openai'> & {
  readonly openai?: OpenAiSim;
  readonly open: () => number;
};

type Maker = (kind: FaultKind, world: FaultWorld) => Promise<Parts>;

/** Errors: none of its own. */
export async function startFaultVendor(
  vendor: FaultVendorName,
  kind: FaultKind,
  world: FaultWorld,
): Promise<FaultVendor> {
  const parts = await MAKERS[vendor](kind, world);
  const { openai = null, open } = parts;
  return {
    ...parts,
    ...{ vendor, openai },
    get open() {
      return open();
    },
  };
}

type Sim = {
  readonly server: { readonly open: number };
  readonly faults: FaultPlan;
  readonly violations: readonly string[];
  close(): Promise<void>;
};

function partsOf(sim: Sim): Pick<Parts, 'faults' | 'violations' | 'open' | 'close'> {
  const { faults, violations } = sim;
  return { faults, violations, open: () => sim.server.open, close: () => sim.close() };
}

const openai: Maker = async (_kind, { words, reply }) => {
  const sim = await startOpenAiSim({ vendor: 'local', apiKey: 'made-up-key', reply, words });
  return {
    ...{ faults: sim.faults, violations: sim.violations, openai: sim },
    ...{ open: () => sim.openRequests, close: () => sim.close() },
    credentials: { api_key: 'made-up-key' },
    options: { base_url: sim.baseUrl, model: 'm' },
  };
};

const aliyun: Maker = async (_kind, { words, tokens }) => {
  const known = { has: (token: string) => tokens.includes(token) };
  const projects = { phone: { rateHz: 8000 as const } };
  const sim = await startSimNls({ clock: systemClock, tokens: known, projects, words });
  const options = { gateway_url: sim.url, app_key: 'phone' };
  return { ...partsOf(sim), credentials: {}, options };
};

const volcengine: Maker = async (_kind, { words }) => {
  const sim = await startVolcSim({ words });
  return {
    ...partsOf(sim),
    credentials: { app_id: SIM_APP_ID, access_token: SIM_TOKEN },
    options: {
      stt_url: `${sim.server.wsUrl}/api/v3/sauc/bigmodel_async`,
      tts_url: `${sim.server.wsUrl}/api/v3/tts/bidirection`,
    },
  };
};

const tencent: Maker = async (kind, { words }) => {
  const keys = { secretId: 'made-up-id', secretKey: 'made-up-secret' };
  const sim = await startSimTencent({ clock: systemClock, appId: '1300000001', ...keys, words });
  return {
    ...partsOf(sim),
    credentials: { app_id: '1300000001', secret_id: keys.secretId, secret_key: keys.secretKey },
    options: { url: kind === 'stt' ? sim.asrUrl : sim.ttsUrl },
  };
};

const baidu: Maker = async (kind, { words }) => {
  const keys = { apiKey: 'made-up-key', secretKey: 'made-up-secret' };
  const sim = await startSimBaidu({ clock: systemClock, appId: 10_001, ...keys, words });
  return {
    ...partsOf(sim),
    credentials: { app_id: '10001', api_key: keys.apiKey, secret_key: keys.secretKey },
    options: { url: kind === 'stt' ? sim.asrUrl : sim.ttsUrl, token_url: sim.tokenUrl },
  };
};

const dashscope: Maker = async (_kind, { words }) => {
  const sim = await startSimDashscope({ clock: systemClock, words });
  const options = { stt_url: sim.inferenceUrl, tts_url: sim.inferenceUrl };
  return { ...partsOf(sim), credentials: { api_key: SIM_DASHSCOPE_KEY }, options };
};

const iflytek: Maker = async (kind, { words }) => {
  const sim = await startSimIflytek({ clock: systemClock, words });
  const { appId, apiKey, apiSecret } = SIM_IFLYTEK_ACCOUNT;
  return {
    ...partsOf(sim),
    credentials: { app_id: appId, api_key: apiKey, api_secret: apiSecret },
    options: { url: kind === 'stt' ? sim.urls.iat : sim.urls.tts },
  };
};

const MAKERS = { aliyun, baidu, dashscope, iflytek, openai, tencent, volcengine } as const;

/** Those of VendorFault that a voice or a recogniser can have. */
export const SPEECH_FAULTS: readonly VendorFault[] = [
  { kind: 'refuse', status: 500 },
  { kind: 'fail_before_start' },
  { kind: 'hang' },
  { kind: 'half_open' },
  { kind: 'cut' },
  { kind: 'fail_midway' },
  { kind: 'junk' },
  { kind: 'swapped' },
  { kind: 'slow', ms: 3_000 },
  { kind: 'late' },
  { kind: 'recycle' },
  { kind: 'moderated' },
  { kind: 'huge', bytes: 2 * 1024 * 1024 },
];

export const CHAT_FAULTS: readonly VendorFault[] = [
  { kind: 'refuse', status: 401 },
  { kind: 'refuse', status: 429 },
  ...SPEECH_FAULTS.filter(({ kind }) => kind !== 'swapped' && kind !== 'late'),
  // Hardly a fault: whoever answers to the end is to be counted.
  { kind: 'slow', ms: 20 },
  { kind: 'own', name: 'stall' },
  { kind: 'own', name: 'code_in_chunk' },
];

export function nameOfFault(fault: VendorFault): string {
  if (fault.kind === 'own') return fault.name;
  return fault.kind === 'refuse' ? `refuse ${fault.status}` : fault.kind;
}
