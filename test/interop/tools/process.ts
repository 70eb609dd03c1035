/** Child processes of the suite: each is ended by its pid, also when a test fails or the run is cut short. */
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const KILL_AFTER_MS = 3000;
const running = new Set<ChildProcess>();

const lastActs = new Set<() => void>();

process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
  for (const act of lastActs) act();
});
// The test runner ends an overdue file with SIGTERM, which by itself would skip the handler above.
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => process.exit(1));

/** Something to do when this process ends before it could tidy up; gives back the way to take it off again. */
export function atExit(act: () => void): () => void {
  lastActs.add(act);
  return () => void lastActs.delete(act);
}

export type Peer = {
  readonly name: string;
  readonly pid: number;
  readonly child: ChildProcess;
  readonly logPath: string;
  /** Exit code, or the signal's name. */
  readonly exited: Promise<number | NodeJS.Signals>;
  readonly isRunning: boolean;
  log(): string;
  /** Writes a line to standard input. */
  type(line: string): void;
  /** SIGTERM (or `signal`), SIGKILL after 3 s; resolves when it is gone. Idempotent. */
  stop(signal?: NodeJS.Signals, killAfterMs?: number): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

export type PeerOptions = {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** Both output streams go here. */
  readonly logPath: string;
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
};

export function startPeer(options: PeerOptions): Peer {
  const log = openSync(options.logPath, 'a');
  const child = spawn(options.command, [...options.args], {
    stdio: ['pipe', log, log],
    cwd: options.cwd,
    env: { ...(options.env ?? process.env) },
  });
  closeSync(log);
  running.add(child);
  // A peer that is gone cannot read; its exit tells the test more than the broken pipe would.
  child.stdin?.on('error', () => running.delete(child));
  const exited = new Promise<number | NodeJS.Signals>((resolve, reject) => {
    child.once('error', (error) => {
      running.delete(child);
      reject(error);
    });
    child.once('exit', (code, signal) => {
      running.delete(child);
      resolve(code ?? signal ?? -1);
    });
  });
  exited.catch(() => running.delete(child));
  const isOver = (): boolean =>
    child.exitCode !== null || child.signalCode !== null || child.pid === undefined;
  const stop = async (
    signal: NodeJS.Signals = 'SIGTERM',
    killAfterMs = KILL_AFTER_MS,
  ): Promise<void> => {
    if (isOver()) return;
    child.kill(signal);
    const killer = setTimeout(() => child.kill('SIGKILL'), killAfterMs);
    await exited;
    clearTimeout(killer);
  };
  return {
    name: options.name,
    pid: child.pid ?? 0,
    child,
    logPath: options.logPath,
    exited,
    get isRunning() {
      return !isOver();
    },
    log: () => readFileSync(options.logPath, 'utf8'),
    type: (line) => child.stdin?.write(`${line}\n`),
    stop,
    [Symbol.asyncDispose]: () => stop(),
  };
}

/** The first value that is neither undefined, null nor false. Throws with `what` after `timeoutMs`. */
export async function until<T>(
  what: string,
  timeoutMs: number,
  read: () => Promise<T | undefined | null | false> | T | undefined | null | false,
): Promise<T> {
  const endMs = performance.now() + timeoutMs;
  for (;;) {
    const value = await read();
    if (value !== undefined && value !== null && value !== false) return value;
    if (performance.now() > endMs) throw new Error(`${what}: not within ${timeoutMs} ms`);
    await sleep(50);
  }
}

/** Resolves once the peer's log matches. Throws, with the log's end, when it exits or `timeoutMs` is over. */
export async function untilLogged(
  peer: Peer,
  pattern: RegExp,
  timeoutMs: number,
): Promise<RegExpExecArray> {
  try {
    return await until(`${peer.name} to log ${pattern}`, timeoutMs, () => {
      const found = pattern.exec(peer.log());
      if (found === null && !peer.isRunning) throw new Error(`${peer.name} exited`);
      return found;
    });
  } catch (error) {
    throw new Error(`${String(error)}\n${peer.log().slice(-2000)}`, { cause: error });
  }
}
