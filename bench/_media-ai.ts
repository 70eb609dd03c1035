/**
 * Calls with a realtime model per core: the whole server with all it does of a call, a scripted model that takes and
 * gives JSON with base64 every 20 ms and talks half of the time, callers on SIP and RTP. What counts is the CPU of all
 * threads of the server's process; its database is another process.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startServer, type Callyard } from '../test/interop/tools/server.ts';
import { SCRIPT } from '../test/interop/tools/script.ts';
import { pause, pin, Script } from './_media-process.ts';
import { rounded, type BenchResult } from './_result.ts';

const NODE = '127.0.0.28';
const CALLERS = '127.0.0.29';
const CALLS = 60;
const WARM_UP_MS = 15_000;
const MEASURE_MS = 24_000;
const FLOOR = 160;
const SHARE = 0.7;
/** USER_HZ of Linux, in which /proc counts CPU time. */
const TICKS_PER_S = 100;

type Heard = { readonly sent: number; readonly heard: number; readonly lost: number };
type Model = { readonly heardMs: number; readonly calls: number; readonly violations: number };

export async function measureAiCalls(): Promise<BenchResult[]> {
  const folder = mkdtempSync(join(tmpdir(), 'callyard-ai-'));
  try {
    return [await measure(folder)];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function measure(folder: string): Promise<BenchResult> {
  await using model = new Script('_media-model.ts', [], 'load');
  const wsUrl = await model.next<string>();
  const env = {
    ...{ CALLYARD_LOG_LEVEL: 'warn', CALLYARD_DRAIN_S: '2', CALLYARD_MEDIA_WORKERS: '1' },
    CALLYARD_OUTBOUND_ALLOW: '127.0.0.0/8',
  };
  await using server = await startServer({ folder, address: NODE, script: SCRIPT, env });
  pin(server.pid, 'system');
  await answerByModel(server, `${wsUrl}/v1/realtime`);
  await using callers = new Script('_media-callers.ts', [NODE, CALLERS, String(CALLS)], 'load');
  await callers.next();
  await callers.ask('call');
  await pause(WARM_UP_MS);
  const startMs = performance.now();
  const [cpu, phones, heard] = [
    cpuS(server.pid),
    await callers.ask<Heard>('count'),
    await model.ask<Model>('count'),
  ];
  await pause(MEASURE_MS);
  const [cpuAfter, phonesAfter, heardAfter] = [
    cpuS(server.pid),
    await callers.ask<Heard>('count'),
    await model.ask<Model>('count'),
  ];
  const passedS = (performance.now() - startMs) / 1000;
  await callers.ask('bye');
  const perCall = (cpuAfter - cpu) / passedS / CALLS;
  const frames = phonesAfter.sent - phones.sent;
  // What is on its way at either look may differ by a tenth of a second of audio.
  const lostUp = Math.max(0, frames - (heardAfter.heardMs - heard.heardMs) / 20 - CALLS * 5);
  const lostDown = phonesAfter.lost - phones.lost;
  const value = SHARE / perCall;
  const isWhole =
    lostUp === 0 && lostDown === 0 && heardAfter.calls === CALLS && heardAfter.violations === 0;
  return {
    ...{ bench: 'media', metric: 'ai_calls_per_core', value: rounded(value, 0), unit: 'calls' },
    against: `${rounded(perCall * 1000)} ms of CPU a second and call, ${CALLS} calls; of ${frames} frames up ${rounded(lostUp, 0)} and of ${phonesAfter.heard - phones.heard} down ${lostDown} lost`,
    ...{ ratio: rounded(value / FLOOR), floor: `>= ${FLOOR}`, ok: value >= FLOOR && isWhole },
  };
}

/** Of all threads of a process, its children left out. */
function cpuS(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_S;
}

async function answerByModel(server: Callyard, url: string): Promise<void> {
  const config = await server.post<{ id: string }>('/api/v1/provider-configs', {
    ...{ kind: 'realtime', vendor: 'openai', name: 'scripted model' },
    ...{ credentials: { api_key: 'made-up' }, options: { realtime_url: url } },
  });
  const agent = await server.post<{ id: string }>('/api/v1/agents', {
    ...{ name: 'Model', system_prompt: 'Be kind.', greeting: 'Good morning.', mode: 'realtime' },
    realtime: { vendor: 'openai', config_id: config.id },
  });
  const response = await fetch(`${server.apiUrl}/api/v1/agent-bindings`, {
    method: 'PUT',
    headers: { authorization: `Bearer ${server.apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ kind: 'default', agent_id: agent.id }),
  });
  if (!response.ok) throw new Error(`the binding: ${response.status} ${await response.text()}`);
}
