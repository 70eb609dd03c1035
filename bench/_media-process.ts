/** Processes of media.bench.ts: each on a core of its own where the system can pin them, each asked by one line or message. */
import { fork, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export type Core = 'system' | 'load';

const ANSWER_MS = 20_000;
const CORES: Record<Core, string> = { system: '0', load: '1' };

/** Whether the thing measured and its load have a core each. */
export const canPin =
  availableParallelism() > 1 && spawnSync('taskset', ['-c', '0', 'true']).status === 0;

export function pin(pid: number | undefined, core: Core): void {
  if (canPin && pid !== undefined) spawnSync('taskset', ['-acp', CORES[core], String(pid)]);
}

/** A script of this folder in a process of its own, which talks by messages. */
export class Script {
  readonly #child: ChildProcess;
  readonly #waiting: ((message: unknown) => void)[] = [];
  readonly #early: unknown[] = [];

  constructor(file: string, args: readonly string[], core: Core, nodeArgs: readonly string[] = []) {
    const path = fileURLToPath(new URL(file, import.meta.url));
    this.#child = fork(path, [...args], {
      execPath: canPin ? 'taskset' : process.execPath,
      execArgv: canPin ? ['-c', CORES[core], process.execPath, ...nodeArgs] : [...nodeArgs],
    });
    this.#child.on('message', (message) => {
      const wait = this.#waiting.shift();
      if (wait === undefined) this.#early.push(message);
      else wait(message);
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** What it says next. */
  async next<T>(): Promise<T> {
    if (this.#early.length > 0) return this.#early.shift() as T;
    const { promise, resolve } = Promise.withResolvers<unknown>();
    this.#waiting.push(resolve);
    return (await inTime(promise, this.#child)) as T;
  }

  async ask<T>(message: unknown): Promise<T> {
    this.#child.send(message as object);
    return await this.next<T>();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await killed(this.#child);
  }
}

/** A program that answers every line with a number. */
export class Program {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(command: string, args: readonly string[], core: Core) {
    const [run, ...rest] = canPin ? ['taskset', '-c', CORES[core], command] : [command];
    this.#child = spawn(run as string, [...rest, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
    const { stdin, stdout } = this.#child;
    if (stdin === null || stdout === null) throw new Error(`${command} has no pipes`);
    this.#lines = createInterface({ input: stdout })[Symbol.asyncIterator]();
  }

  async next(): Promise<number> {
    const line = await inTime(this.#lines.next(), this.#child);
    if (line.done === true) throw new Error(`${this.#child.spawnfile} ended`);
    return Number(line.value);
  }

  async ask(): Promise<number> {
    this.#child.stdin?.write('cpu\n');
    return await this.next();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await killed(this.#child);
  }
}

export const pause = (ms: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, ms));

async function inTime<T>(answer: Promise<T>, child: ChildProcess): Promise<T> {
  const late = Promise.withResolvers<never>();
  const what = child.spawnargs.slice(0, 4).join(' ');
  const onExit = (): void => late.reject(new Error(`${what} ended`));
  const timer = setTimeout(() => late.reject(new Error(`no answer of ${what}`)), ANSWER_MS);
  child.once('exit', onExit);
  try {
    return await Promise.race([answer, late.promise]);
  } finally {
    clearTimeout(timer);
    child.off('exit', onExit);
  }
}

async function killed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill('SIGKILL');
  await exit;
}
