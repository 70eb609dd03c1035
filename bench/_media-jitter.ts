/**
 * What waiting for late packets costs (P8 of the targets), on seeded lines through the real jitter buffer. The anchor is
 * clairvoyant: of all constant delays on the same 20 ms ticks the least that loses no larger share of the packets. A
 * stricter one chooses a delay for every stretch of speech anew, knowing all of it before.
 */
import { CallerAudio } from '#media/jitter/caller-audio.ts';
import { rounded } from './_result.ts';
import { LINES, randomOf, traceOf, type Journey, type Trace } from './_media-traces.ts';

const TICK_MS = 20;
const FRAME = 160;
/** The start of a call is learning, for all of them. */
const LEARNING_MS = 4000;

type Played = {
  readonly name: string;
  /** Mean delay over the least possible, of received packets that were not late: given out, and heard in real time. */
  readonly givenMs: number;
  readonly liveMs: number;
  readonly latePct: number;
  /** Share of the frames in real time that had to be made up although the packet came. */
  readonly gapPct: number;
  readonly constantMs: number;
  readonly spurtMs: number;
  /** The constant delay for what is heard in real time: loses as much as is late or made up there. */
  readonly liveConstantMs: number;
  readonly stretchedPct: number;
  readonly atEndMs: number;
};

/** Plays one trace. `tick` at the phase `phaseMs` of the true clock. */
export function play(trace: Trace, seed: number): Played {
  const phaseMs = randomOf(seed + 7)() * TICK_MS;
  const run = runTrace(trace, phaseMs, seed);
  const heard = trace.packets.filter((each) => isMeasured(each));
  const given = heard.filter((each) => run.givenAt.has(each));
  const late = heard.length - given.length;
  const delays = given.map((each) => (run.givenAt.get(each) as number) - each.sentMs);
  const gapShare = run.gaps / run.frames;
  return {
    name: trace.name,
    givenMs: mean(delays),
    liveMs: mean(run.liveDelays),
    latePct: (100 * late) / heard.length,
    gapPct: 100 * gapShare,
    constantMs: constantOracle(heard, late, phaseMs),
    spurtMs: spurtOracle(heard, late, phaseMs),
    liveConstantMs: constantOracle(heard, late + Math.floor(gapShare * heard.length), phaseMs),
    stretchedPct: (100 * run.stretchedMs) / (run.frames * TICK_MS),
    atEndMs: run.liveDelays.at(-1) ?? 0,
  };
}

function isMeasured(packet: Journey): boolean {
  return packet.arrivalMs !== Infinity && packet.sentMs > LEARNING_MS;
}

type Run = {
  readonly givenAt: Map<Journey, number>;
  readonly liveDelays: number[];
  frames: number;
  gaps: number;
  stretchedMs: number;
};

type Arrival = { readonly atMs: number; readonly packet: Journey; readonly isCopy: boolean };

function arrivalsOf(trace: Trace): Arrival[] {
  const arrivals: Arrival[] = [];
  for (const packet of trace.packets) {
    if (packet.arrivalMs < Infinity)
      arrivals.push({ atMs: packet.arrivalMs, packet, isCopy: false });
    if (packet.copyMs < Infinity) arrivals.push({ atMs: packet.copyMs, packet, isCopy: true });
  }
  return arrivals.sort((a, b) => a.atMs - b.atMs);
}

function runTrace(trace: Trace, phaseMs: number, seed: number): Run {
  const run: Run = { givenAt: new Map(), liveDelays: [], frames: 0, gaps: 0, stretchedMs: 0 };
  const waiting: { position: number; packet: Journey }[] = [];
  let nowMs = 0;
  const given = (pcm: Int16Array, position: number): void => {
    const end = position + pcm.length;
    for (let i = waiting.length - 1; i >= 0; i--) {
      const each = waiting[i];
      if (each === undefined || each.position >= end) continue;
      if (each.position >= position) run.givenAt.set(each.packet, nowMs);
      waiting.splice(i, 1);
    }
  };
  const caller = new CallerAudio({ given });
  const voice = voiceOf(seed);
  const arrivals = arrivalsOf(trace);
  const seen = new Set<Journey>();
  let newest = -1;
  let highest = -1;
  let readTo = 0;
  /** Where the buffer believes the path to be, against where it is. */
  let offMs = 0;
  const endMs = (trace.packets.at(-1)?.sentMs ?? 0) + TICK_MS;
  for (let next = 0, k = 1; (nowMs = phaseMs + k * TICK_MS) < endMs; k++) {
    for (; next < arrivals.length && (arrivals[next]?.atMs ?? 0) <= nowMs; next++) {
      const { atMs, packet } = arrivals[next] as Arrival;
      // The chain drops what comes again.
      if (seen.has(packet)) continue;
      seen.add(packet);
      const isNew = packet.timestamp > newest;
      const number = (packet.timestamp - 1000) / FRAME;
      const order = { isNew, follows: isNew && number === highest + 1 };
      if (isNew) [newest, highest] = [packet.timestamp, number];
      const pcm = voice(packet);
      const arrival = Math.round(atMs * 8);
      const position = caller.put(packet.timestamp, pcm, FRAME, arrival, order);
      if (isNew) offMs = position / 8 - packet.sentMs;
      if (position >= readTo) waiting.push({ position, packet });
    }
    caller.pull(nowMs, false);
    readTo = caller.readPosition;
    const before = caller.report;
    const lag = caller.liveLagMs(nowMs);
    const gapsBefore = caller.liveGaps;
    caller.live(nowMs);
    const after = caller.report;
    if (nowMs < LEARNING_MS) continue;
    run.frames++;
    run.gaps += (caller.liveGaps - gapsBefore) / FRAME;
    run.liveDelays.push(lag + offMs);
    run.stretchedMs += after.acceleratedMs - before.acceleratedMs;
    run.stretchedMs += after.expandedMs - before.expandedMs;
  }
  return run;
}

/** Packets of a voice in stretches of speech and of a quiet room in pauses. */
function voiceOf(seed: number): (packet: Journey) => Int16Array {
  const random = randomOf(seed + 99);
  const pcm = new Int16Array(FRAME);
  let phase = 0;
  let soft = 0;
  return ({ spurt, timestamp }) => {
    const hz = 110 + 60 * Math.sin(timestamp / 9000) + 10 * (spurt % 7);
    for (let i = 0; i < FRAME; i++) {
      phase += (2 * Math.PI * hz) / 8000;
      soft += 0.3 * (random() - 0.5 - soft);
      let value = 60 * soft;
      if (spurt >= 0)
        for (let h = 1; h <= 8; h++) value += (5000 / h) * Math.sin(h * phase + h * h);
      pcm[i] = Math.round(value);
    }
    return pcm;
  };
}

/** Delay of a packet that is played `delayMs` after the least possible, at the next tick; late: Infinity. */
function played(packet: Journey, delayMs: number, phaseMs: number): number {
  const dueMs = packet.sentMs + delayMs;
  const tickMs = phaseMs + Math.ceil((dueMs - phaseMs) / TICK_MS - 1e-9) * TICK_MS;
  return packet.arrivalMs > tickMs ? Infinity : tickMs - packet.sentMs;
}

function constantOracle(packets: readonly Journey[], mayLose: number, phaseMs: number): number {
  for (let delayMs = 0; ; delayMs += 1) {
    const delays = packets.map((each) => played(each, delayMs, phaseMs));
    const kept = delays.filter((each) => each < Infinity);
    if (delays.length - kept.length <= mayLose) return mean(kept);
  }
}

/** Each stretch of speech (and each pause) at its own delay: the least mean for the same number lost, by Lagrange. */
function spurtOracle(packets: readonly Journey[], mayLose: number, phaseMs: number): number {
  const groups: Journey[][] = [];
  let last: number | null = null;
  for (const each of packets) {
    if (each.spurt !== last) groups.push([]);
    last = each.spurt;
    groups.at(-1)?.push(each);
  }
  const options = groups.map((group) => optionsOf(group, phaseMs));
  let best = Infinity;
  for (let price = 1; price < 1e6; price *= 1.3) {
    let [lost, sum] = [0, 0];
    for (const each of options) {
      let chosen = each[0] as Option;
      for (const option of each)
        if (option.sum + price * option.lost < chosen.sum + price * chosen.lost) chosen = option;
      lost += chosen.lost;
      sum += chosen.sum;
    }
    if (lost <= mayLose) best = Math.min(best, sum / (packets.length - lost));
  }
  return best;
}

type Option = { readonly lost: number; readonly sum: number };

function optionsOf(group: readonly Journey[], phaseMs: number): Option[] {
  const options: Option[] = [];
  for (let delayMs = 0; ; delayMs += 2) {
    const kept = group
      .map((each) => played(each, delayMs, phaseMs))
      .filter((each) => each < Infinity);
    const lost = group.length - kept.length;
    options.push({ lost, sum: kept.reduce((a, b) => a + b, 0) });
    if (lost === 0) return options;
  }
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, each) => sum + each, 0) / Math.max(1, values.length);
}

/**
 * All lines at one seed. Ratios are of the means over the lines. `jitter_delay_vs_oracle` is of what is played in real time,
 * like for like with a delay that is chosen beforehand; `given` is when recogniser and recording have the same audio, who
 * wait for nothing but what is missing. What was made up in real time counts as lost for the oracle too.
 */
export function jitterBench(
  seed: number,
): Promise<{ metrics: Record<string, number>; lines: string[] }> {
  const all = LINES.map((line) => play(traceOf(line, seed), seed));
  const sum = (of: (each: Played) => number): number => mean(all.map(of));
  const metrics = {
    jitter_delay_vs_oracle: sum((x) => x.liveMs) / sum((x) => x.liveConstantMs),
    jitter_given_delay_vs_oracle: sum((x) => x.givenMs) / sum((x) => x.constantMs),
    jitter_given_delay_vs_spurt_oracle: sum((x) => x.givenMs) / sum((x) => x.spurtMs),
    jitter_given_delay_vs_oracle_worst: Math.max(...all.map((x) => x.givenMs / x.constantMs)),
    jitter_late_pct: sum((x) => x.latePct),
    jitter_late_pct_worst: Math.max(...all.map((x) => x.latePct)),
    jitter_live_gap_pct: sum((x) => x.gapPct),
  };
  const lines = all.map((x) => lineOf(x));
  return Promise.resolve({
    metrics: Object.fromEntries(
      Object.entries(metrics).map(([name, value]) => [name, rounded(value, 3)]),
    ),
    lines: [
      'line                  given  const  spurt  late %   live  const  made up %  stretched %',
      ...lines,
    ],
  });
}

function lineOf(x: Played): string {
  const cells = [
    [x.givenMs, 1, 7],
    [x.constantMs, 1, 7],
    [x.spurtMs, 1, 7],
    [x.latePct, 2, 8],
    [x.liveMs, 1, 7],
    [x.liveConstantMs, 1, 7],
    [x.gapPct, 2, 11],
    [x.stretchedPct, 2, 13],
  ] as const;
  const rest = cells.map(([value, digits, width]) => value.toFixed(digits).padStart(width));
  return x.name.padEnd(20) + rest.join('');
}
