/** Tries a trunk out: OPTIONS, and REGISTER where the row wants it, side by side within one deadline. */
import type { Clock } from '#lib/clock.ts';
import type { TrunkFault, TrunkLine, TrunkTest } from '#lib/trunk.ts';
import { ACCEPT } from './body.ts';
import type { PlainRequest, PlainResult } from './plain-requests.ts';
import { askRegister } from './registration.ts';
import { TrunkTalk, type TalkPorts } from './trunk-talk.ts';

export type ProbeOptions = {
  readonly ports: TalkPorts;
  readonly clock: Clock;
  readonly timeoutMs: number;
  /** The node keeps this binding anyway: it is left in place. Asked when it could be taken back. */
  readonly keepsBinding: () => boolean;
};

type Verdict = { readonly fault: TrunkFault | null; readonly status: number | null };

/** Whoever answers with these is there and speaks SIP, but takes no OPTIONS. */
const NO_OPTIONS = new Set([404, 405, 481, 489, 501]);
const AWAY_TIMEOUT_MS = 2_000;

/**
 * REGISTER decides where there is one: many carriers take no OPTIONS. Never rejects; a binding made here is taken back
 * behind the answer.
 */
export async function probeTrunk(line: TrunkLine, options: ProbeOptions): Promise<TrunkTest> {
  const { clock, timeoutMs } = options;
  const deadlineMs = clock.now() + timeoutMs;
  let roundTripMs: number | null = null;
  const request = async (wanted: PlainRequest): Promise<PlainResult> => {
    const startMs = clock.now();
    const leftMs = deadlineMs - startMs;
    if (leftMs <= 0) return { ok: false, cause: 'timeout' };
    const result = await options.ports.request({ ...wanted, timeoutMs: leftMs });
    if (result.ok) roundTripMs ??= clock.now() - startMs;
    return result;
  };
  const ports = { ...options.ports, request };
  const late = Promise.withResolvers<Verdict>();
  const timer = clock.setTimer(() => late.resolve({ fault: 'timeout', status: null }), timeoutMs);
  const reached = askOptions(line, ports, timeoutMs);
  const decision = line.register ? tryRegister(line, ports, options) : reached;
  try {
    const { fault, status } = await Promise.race([decision, late.promise]);
    return { ok: fault === null, sipStatus: status, roundTripMs, error: fault };
  } finally {
    clock.clearTimer(timer);
  }
}

async function askOptions(line: TrunkLine, ports: TalkPorts, timeoutMs: number): Promise<Verdict> {
  const result = await new TrunkTalk(line, ports).ask('OPTIONS', { Accept: ACCEPT }, timeoutMs);
  if (!result.ok) return result;
  const { status } = result.response;
  if (status < 300 || NO_OPTIONS.has(status)) return { fault: null, status };
  return { fault: status < 400 ? 'redirected' : 'refused', status };
}

async function tryRegister(
  line: TrunkLine,
  ports: TalkPorts,
  { timeoutMs, keepsBinding, ports: patient }: ProbeOptions,
): Promise<Verdict> {
  const result = await register(line, ports, timeoutMs);
  if (!result.ok) return result;
  // With a talk of its own: the deadline of the trial is not that of tidying up.
  if (!keepsBinding()) void askRegister(new TrunkTalk(line, patient), line, 0, AWAY_TIMEOUT_MS);
  return { fault: null, status: 200 };
}

async function register(line: TrunkLine, ports: TalkPorts, timeoutMs: number) {
  const talk = new TrunkTalk(line, ports);
  const result = await askRegister(talk, line, line.intervalS, timeoutMs);
  if (result.ok || result.minExpiresS === null) return result;
  return askRegister(talk, line, result.minExpiresS, timeoutMs);
}
