/**
 * Calls set up and ended per second, twenty at a time, against a bare 200-OK responder driven by the same client in the
 * same run. The client is SIPp, or the built-in caller where SIPp is not installed.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { placeCall } from '#src/demo/phone.ts';
import { startPeer, untilLogged } from '../test/interop/tools/process.ts';
import { SCRIPT } from '../test/interop/tools/script.ts';
import { startServer } from '../test/interop/tools/server.ts';
import { startSippUac } from '../test/interop/tools/sipp.ts';
import { uacXml } from '../test/interop/tools/sipp-scenario.ts';
import { rounded, type BenchResult } from './_result.ts';

const NODE = '127.0.0.25';
const BARE = '127.0.0.26';
const CLIENT = '127.0.0.15';
const CALLS = 600;
const WARM_UP_CALLS = 100;
const AT_ONCE = 20;
const FLOOR_PER_S = 30;
const SETUP_LIMIT_MS = 1000;

type Figures = { readonly callsPerS: number; readonly setupMs: readonly number[] };

export async function run(): Promise<BenchResult[]> {
  const folder = mkdtempSync(join(tmpdir(), 'callyard-bench-'));
  const hasSipp = spawnSync('sipp', ['-v']).error === undefined;
  const drive = hasSipp ? driveBySipp : driveByPhone;
  try {
    const bare = await measureBare(folder, drive);
    const ours = await measureOurs(folder, drive);
    return results(ours, bare, hasSipp ? 'SIPp' : 'the built-in caller');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

type Drive = (folder: string, name: string, address: string, calls: number) => Promise<Figures>;

async function measureBare(folder: string, drive: Drive): Promise<Figures> {
  const script = new URL('_bare-uas.ts', import.meta.url).pathname;
  const logPath = join(folder, 'bare.log');
  const args = [script, BARE, '5060'];
  await using bare = startPeer({ name: 'bare', command: process.execPath, args, logPath });
  await untilLogged(bare, /listening/, 5000);
  await drive(folder, 'bare-warm-up', BARE, WARM_UP_CALLS);
  // Awaited here: the peer must live until the figures are in.
  return await drive(folder, 'bare', BARE, CALLS);
}

async function measureOurs(folder: string, drive: Drive): Promise<Figures> {
  const env = { CALLYARD_LOG_LEVEL: 'warn', CALLYARD_DRAIN_S: '5' };
  await using server = await startServer({ folder, address: NODE, script: SCRIPT, env });
  await drive(folder, 'ours-warm-up', server.address, WARM_UP_CALLS);
  return await drive(folder, 'ours', server.address, CALLS);
}

async function driveBySipp(
  folder: string,
  name: string,
  address: string,
  calls: number,
): Promise<Figures> {
  const run = {
    folder,
    name,
    xml: uacXml({ talkMs: 0 }),
    address: CLIENT,
    mediaPort: 17_000,
    timeoutS: 120,
  };
  const load = {
    target: `${address}:5060`,
    service: '8001',
    calls,
    ratePerS: 2000,
    limit: AT_ONCE,
  };
  const startMs = performance.now();
  await using uac = startSippUac(run, load);
  const { code, statistics } = await uac.result();
  const elapsedS = (performance.now() - startMs) / 1000;
  if (code !== 0) throw new Error(`${name}: ${statistics.failed} of ${calls} calls failed`);
  return { callsPerS: calls / elapsedS, setupMs: statistics.inviteMs };
}

async function driveByPhone(
  _folder: string,
  _name: string,
  address: string,
  calls: number,
): Promise<Figures> {
  const setupMs: number[] = [];
  let left = calls;
  const startMs = performance.now();
  const caller = async (): Promise<void> => {
    while (left-- > 0) {
      const call = await placeCall({ target: `sip:8001@${address}:5060`, codecs: ['PCMU'] });
      setupMs.push((call.sip.times.answeredMs ?? 0) - (call.sip.times.inviteMs ?? 0));
      await call.hangUp();
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, caller));
  return { callsPerS: calls / ((performance.now() - startMs) / 1000), setupMs };
}

function results(ours: Figures, bare: Figures, client: string): BenchResult[] {
  const p99 = (values: readonly number[]): number =>
    values.toSorted((a, b) => a - b)[Math.floor(values.length * 0.99)] ?? Number.NaN;
  const against = `bare 200-OK responder: ${rounded(bare.callsPerS, 0)} calls/s, by ${client}`;
  const common = { bench: 'call-setup' };
  return [
    {
      ...common,
      metric: 'calls set up and ended',
      value: rounded(ours.callsPerS, 1),
      unit: 'calls/s',
      against,
      ratio: rounded(ours.callsPerS / bare.callsPerS, 3),
      floor: `value >= ${FLOOR_PER_S}`,
      ok: ours.callsPerS >= FLOOR_PER_S,
    },
    {
      ...common,
      metric: 'INVITE to 200, p99',
      value: rounded(p99(ours.setupMs), 1),
      unit: 'ms',
      against: `bare 200-OK responder: ${rounded(p99(bare.setupMs), 1)} ms, by ${client}`,
      // SIPp counts whole milliseconds: a ratio to 0 would say nothing.
      ratio: null,
      floor: `value <= ${SETUP_LIMIT_MS}`,
      ok: p99(ours.setupMs) <= SETUP_LIMIT_MS,
    },
  ];
}
