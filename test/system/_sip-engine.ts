/** The SIP engine under test: embedded by default, or the drachtio-server that CALLYARD_SIP_ENGINE names. */
import { systemClock } from '#lib/clock.ts';
import { silentLog } from '#lib/log.ts';
import { createSipAgent } from '#sip/agent.ts';
import { startEngineWorker } from '#sip/server/engine-host.ts';
import { DEFAULT_TIMERS } from '#sip/server/timers.ts';
import type { SipAgent } from '#sip/types.ts';

export type TestEngine = {
  readonly host: string;
  readonly port: number;
  readonly secret: string;
  close(): Promise<void>;
};

/** `t1Ms` shortens every timer of the embedded engine, for tests that wait for one to run out. */
export async function startEngine(t1Ms = DEFAULT_TIMERS.t1Ms): Promise<TestEngine> {
  const setting = process.env['CALLYARD_SIP_ENGINE'] ?? 'embedded';
  if (setting !== 'embedded') {
    const match = /^drachtio:\/\/([^@]+)@([^:]+):(\d+)$/.exec(setting);
    if (match === null) throw new Error(`CALLYARD_SIP_ENGINE: ${setting}`);
    const [, secret = '', host = '', port = ''] = match;
    return { host, port: Number(port), secret, close: async () => undefined };
  }
  const engine = await startEngineWorker({
    hosts: ['127.0.0.1'],
    port: 0,
    log: silentLog,
    timers: { ...DEFAULT_TIMERS, t1Ms, t2Ms: Math.min(DEFAULT_TIMERS.t2Ms, t1Ms * 8) },
  });
  return {
    host: '127.0.0.1',
    port: engine.controlPort,
    secret: engine.secret,
    close: () => engine.close(),
  };
}

export async function connectAgent(
  engine: TestEngine,
  allow: (address: string) => boolean = () => true,
): Promise<{ agent: SipAgent; server: { address: string; port: number } }> {
  const { host, port, secret } = engine;
  const agent = await createSipAgent({
    host,
    port,
    secret,
    allow,
    log: silentLog,
    clock: systemClock,
  });
  const udp = agent.listening.find((one) => one.startsWith('udp/')) ?? '';
  const match = /^udp\/(.+):(\d+)$/.exec(udp);
  return { agent, server: { address: match?.[1] ?? '', port: Number(match?.[2]) } };
}
