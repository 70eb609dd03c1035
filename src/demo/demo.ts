/** `callyard demo`: one whole call from outside, told as it happens. Speaks SIP, RTP and HTTP like any stranger. */
import { readFile } from 'node:fs/promises';
import { systemClock } from '#lib/clock.ts';
import { AppError, messageOf, systemCodeOf } from '#lib/errors.ts';
import { createApiClient, type ApiClient, type DemoRecord } from './api-client.ts';
import { placeCall, type PhoneCall } from './phone.ts';
import { FRAME_SAMPLES } from './rtp-stream.ts';
import { startServerProcess, type ServerCommand, type ServerProcess } from './server-process.ts';
import { finishedRecord, followTranscript } from './transcript.ts';
import { trimSilence } from './voice-meter.ts';
import { drawWaterfall, type MeasuredTurn } from './waterfall.ts';
import { parseWav } from './wav.ts';
import { runScript, type ScriptResult } from './script.ts';

const RECORD_TIMEOUT_MS = 15_000;
/** A first start installs and fills the embedded database. */
const START_TIMEOUT_MS = 120_000;

export type DemoOptions = {
  /** SIP address to call: `sip:demo@127.0.0.1:5060`. */
  readonly target: string;
  /** `http://127.0.0.1:8080`. */
  readonly apiUrl: string;
  /** Null: read from `apiKeyFile` once the server is up. */
  readonly apiKey: string | null;
  readonly apiKeyFile: string;
  readonly out: (line: string) => void;
  /** How to start a server when none answers; null: then the demo fails instead. */
  readonly startServer: ServerCommand | null;
  /** Aborting hangs up and stops what the demo started. */
  readonly signal?: AbortSignal;
};

/** Runs the demo; resolves with the exit code: 0 when every turn was answered and the record is complete, else 1. */
export async function runDemo(options: DemoOptions): Promise<number> {
  let server: ServerProcess | null = null;
  try {
    let key = options.apiKey ?? '';
    const api = createApiClient(options.apiUrl, () => key);
    server = await ensureServer(api, options);
    key = options.apiKey ?? (await readKey(options.apiKeyFile));
    return await callAndTell(api, options, server !== null);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    options.out(`demo: ${error.message}`);
    return 1;
  } finally {
    await server?.stop();
  }
}

async function ensureServer(api: ApiClient, options: DemoOptions): Promise<ServerProcess | null> {
  if ((await api.health()) !== null) {
    options.out(`A server answers on ${options.apiUrl}.`);
    return null;
  }
  if (options.startServer === null) {
    throw new AppError(
      'E_CONFIG',
      `no server answers on ${options.apiUrl}; start one with npm start`,
    );
  }
  options.out(`No server answers on ${options.apiUrl}: starting one.`);
  return startServerProcess(
    options.startServer,
    () => api.isReady(),
    START_TIMEOUT_MS,
    options.signal,
  );
}

async function readKey(path: string): Promise<string> {
  try {
    return (await readFile(path, 'utf8')).trim();
  } catch (error) {
    if (systemCodeOf(error) === undefined) throw error;
    const hint = 'set CALLYARD_ADMIN_KEY to the API key the server printed at its start';
    throw new AppError('E_CONFIG', `no API key in ${path}: ${hint}`, { cause: error });
  }
}

async function callAndTell(
  api: ApiClient,
  options: DemoOptions,
  ownServer: boolean,
): Promise<number> {
  const { out } = options;
  const speech = {
    english: await loadSpeech('speech-en.wav'),
    chinese: await loadSpeech('speech-zh.wav'),
    interruption: await loadSpeech('speech-interrupt.wav'),
  };
  out(`Calling ${options.target}`);
  const call = await placeCall({ target: options.target });
  const hangUp = (): void => void call.hangUp();
  options.signal?.addEventListener('abort', hangUp, { once: true });
  tellAnswer(call, out);
  const transcript = followTranscript(api, call.sip.callId, out, systemClock);
  let result: ScriptResult;
  try {
    result = await runScript(call, speech);
  } finally {
    options.signal?.removeEventListener('abort', hangUp);
    await call.hangUp();
    await transcript.stop();
  }
  if (options.signal?.aborted) throw new AppError('E_ABORTED', 'stopped');
  if (transcript.recordId === null) {
    throw new AppError('E_TIMEOUT', 'the server shows no record of this call');
  }
  const record = await finishedRecord(api, transcript.recordId, RECORD_TIMEOUT_MS, systemClock);
  out('');
  for (const line of drawWaterfall(result.turns, record.latency, result.bargeInMs)) out(line);
  out('');
  tellRecord(record, options, ownServer);
  return judge(result, record, out);
}

async function loadSpeech(name: string): Promise<Int16Array> {
  const wav = parseWav(await readFile(new URL(name, import.meta.url)));
  const pcm = wav.channels[0];
  if (pcm === undefined || wav.sampleRateHz !== 8000) {
    throw new AppError('E_MEDIA', `${name} is not an 8 kHz WAV file`);
  }
  return trimSilence(pcm, FRAME_SAMPLES);
}

function tellAnswer(call: PhoneCall, out: (line: string) => void): void {
  const { inviteMs, answeredMs } = call.sip.times;
  const setupMs = Math.round((answeredMs ?? 0) - (inviteMs ?? 0));
  out(`Answered after ${setupMs} ms, ${call.codec}, RTP on ${call.localAddress}:${call.rtpPort}`);
  out('');
}

function tellRecord(record: DemoRecord, options: DemoOptions, ownServer: boolean): void {
  const { out } = options;
  const key = options.apiKey === null ? `$(cat ${options.apiKeyFile})` : '$CALLYARD_ADMIN_KEY';
  const url = `${options.apiUrl}/api/v1/call-records/${record.id}`;
  out(
    `The call lasted ${record.duration_seconds ?? 0} s and ended as ${record.outcome ?? record.status}.`,
  );
  if (ownServer) out('The server of this demo stops now; npm start keeps one running. Then:');
  out(`  record     curl -H "Authorization: Bearer ${key}" ${url}`);
  if (record.recording === null) out('  recording  none: recording is off');
  else out(`  recording  curl -H "Authorization: Bearer ${key}" -o call.wav ${url}/recording`);
}

/** The demo fails loudly: a silent agent or an open record is a fault, however nice the picture. */
function judge(result: ScriptResult, record: DemoRecord, out: (line: string) => void): number {
  const faults: string[] = [];
  if (result.fault !== null) faults.push(messageOf(result.fault));
  const missing: MeasuredTurn[] = result.turns.filter((turn) => turn.wireMs === null);
  for (const turn of missing) faults.push(`the agent did not answer: ${turn.label}`);
  if (record.outcome !== 'completed')
    faults.push(`the call ended as ${record.outcome ?? record.status}`);
  for (const fault of faults) out(`demo: ${fault}`);
  return faults.length === 0 ? 0 : 1;
}
