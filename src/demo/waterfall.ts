/** Draws the latency of each turn, and the server's own account of it, as bars of text. */
import type { DemoRecord } from './api-client.ts';

export type MeasuredTurn = {
  readonly label: string;
  /** End of the caller's speech to the agent's first speech packet, on the wire; null when no answer came. */
  readonly wireMs: number | null;
};

const BAR_CELLS = 44;
const LABEL_CELLS = 22;
const EIGHTHS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
/** Order of the waterfall: what happens first stands first. */
const PARTS = ['jitter', 'endpointing', 'stt', 'llm', 'tts', 'pacing'];

/** A bar from `fromMs` to `toMs` on a scale of `fullMs`, in eighths of a cell at its end. */
export function bar(fromMs: number, toMs: number, fullMs: number, cells = BAR_CELLS): string {
  const scale = fullMs <= 0 ? 0 : cells / fullMs;
  const start = Math.min(cells, Math.max(0, Math.floor(fromMs * scale)));
  const length = Math.min(cells - start, Math.max(0, toMs * scale - start));
  const whole = Math.floor(length);
  const rest = EIGHTHS[Math.floor((length - whole) * 8)] ?? '';
  const drawn = '█'.repeat(whole) + rest;
  return (' '.repeat(start) + (drawn === '' && toMs > fromMs ? '▏' : drawn)).padEnd(cells);
}

/** Lines of the whole picture. `latency` is the record's own; null when the server gave none. */
export function drawWaterfall(
  turns: readonly MeasuredTurn[],
  latency: DemoRecord['latency'],
  bargeInMs: number | null,
): string[] {
  const parts = partsOf(latency);
  const sumMs = parts.reduce((sum, part) => sum + part.ms, 0);
  const fullMs = Math.max(sumMs, ...turns.map((turn) => turn.wireMs ?? 0), 1);
  const lines = [
    "Measured by the caller on the wire: end of its speech to the agent's first sound",
  ];
  for (const turn of turns) {
    const shown = turn.wireMs === null ? 'no answer' : `${Math.round(turn.wireMs)} ms`;
    lines.push(`${label(turn.label)}${bar(0, turn.wireMs ?? 0, fullMs)} ${shown}`);
  }
  if (bargeInMs !== null) {
    lines.push(
      '',
      `Interrupted: the agent fell silent ${Math.round(bargeInMs)} ms after the caller's first packet of speech`,
    );
  }
  if (parts.length === 0)
    return [...lines, '', 'The server gave no latency of its own for this call.'];
  lines.push('', `The server's own account, median of ${latency?.turns ?? 0} turns`);
  let atMs = 0;
  for (const part of parts) {
    lines.push(`${label(part.name)}${bar(atMs, atMs + part.ms, fullMs)} ${Math.round(part.ms)} ms`);
    atMs += part.ms;
  }
  const totalMs = latency?.mouth_to_ear_ms.p50 ?? sumMs;
  lines.push(`${label('all')}${bar(0, totalMs, fullMs)} ${Math.round(totalMs)} ms`);
  return lines;
}

function partsOf(latency: DemoRecord['latency']): { name: string; ms: number }[] {
  if (latency === null || latency.turns === 0) return [];
  return PARTS.flatMap((name) => {
    const figures = latency.parts_ms[name];
    return figures === undefined ? [] : [{ name, ms: figures.p50 }];
  });
}

function label(text: string): string {
  return `  ${text.padEnd(LABEL_CELLS)}`;
}
