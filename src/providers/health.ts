/** How the vendors in use are doing, by what their latest requests took and whether they worked. */
import type { Clock } from '#lib/clock.ts';
import { AppError } from '#lib/errors.ts';
import { RollingMedian } from '#lib/metrics.ts';
import {
  tapped,
  type LlmProvider,
  type ProviderKind,
  type ProviderSet,
  type ProviderTap,
  type RealtimeProvider,
  type SttProvider,
  type SttSession,
  type TtsProvider,
} from './contract.ts';
import type { PoolMember } from './pool/member.ts';

export type ProviderHealthState = {
  readonly kind: ProviderKind;
  readonly vendor: string;
  /**
   * `down`: the last 3 requests failed, or no account of the vendor is asked now, after its failures; `degraded`: one in
   * five of the last 20 failed, or one of its accounts is not asked.
   */
  readonly state: 'up' | 'degraded' | 'down';
  /** Median time to the first word, text or sound of the latest requests; null before the first. */
  readonly p50Ms: number | null;
};

export type ProviderHealthOptions = {
  readonly clock: Clock;
  /** Told of each request that failed. */
  readonly onFailed: (kind: ProviderKind, vendor: string) => void;
  /** What the pool knows of the providers; absent: nothing. */
  readonly members?: () => readonly PoolMember[];
};

const WINDOW = 20;
const DEGRADED_SHARE = 0.2;
const DOWN_IN_A_ROW = 3;
/** Silence of this length is a failure: the conversation gives up after 10 s. */
const STALL_MS = 9_500;
/** A failure this old says nothing about now. */
const FORGET_MS = 5 * 60_000;

/** One vendor of one kind. */
class Vendor {
  readonly firstMs = new RollingMedian();
  #recent: { readonly atMs: number; readonly ok: boolean }[] = [];

  note(atMs: number, ok: boolean): void {
    this.#recent.push({ atMs, ok });
    if (this.#recent.length > WINDOW) this.#recent.shift();
  }

  stateAt(nowMs: number): ProviderHealthState['state'] {
    const recent = this.#recent.filter(({ atMs }) => nowMs - atMs < FORGET_MS);
    const failed = recent.filter(({ ok }) => !ok).length;
    const last = recent.slice(-DOWN_IN_A_ROW);
    if (last.length === DOWN_IN_A_ROW && last.every(({ ok }) => !ok)) return 'down';
    return failed > 0 && failed >= recent.length * DEGRADED_SHARE ? 'degraded' : 'up';
  }
}

export class ProviderHealth {
  readonly #options: ProviderHealthOptions;
  /** By kind and vendor; as many as the registry has. */
  readonly #vendors = new Map<string, Vendor>();

  constructor(options: ProviderHealthOptions) {
    this.#options = options;
  }

  /** The same providers, watched. */
  watch(set: ProviderSet): ProviderSet {
    const tap: ProviderTap = {
      stt: (stt) => this.#watchStt(stt),
      llm: (llm) => this.#watchLlm(llm),
      tts: (tts) => this.#watchTts(tts),
      realtime: (realtime) => this.#watchRealtime(realtime),
    };
    return tapped(set, tap);
  }

  /** In the order in which they were first used. */
  list(): readonly ProviderHealthState[] {
    const nowMs = this.#options.clock.now();
    const members = this.#options.members?.() ?? [];
    return [...this.#vendors].map(([key, vendor]) => {
      const [kind = '', name = ''] = key.split(' ', 2);
      const p50Ms = vendor.firstMs.value;
      const own = members.filter((each) => each.kind === kind && each.vendor === name);
      return {
        kind: kind as ProviderKind,
        vendor: name,
        state: worse(vendor.stateAt(nowMs), stateOf(own)),
        p50Ms: p50Ms === null ? null : Math.round(p50Ms),
      };
    });
  }

  #watchStt(stt: SttProvider): SttProvider {
    const request = this.#requests('stt', stt.vendor);
    return {
      ...stt,
      open: (options) => {
        let utterance: Watch | null = null;
        const session = stt.open({
          ...options,
          onEvent: (event) => {
            if (event.type === 'final') utterance?.first();
            // An error between utterances is a request of its own: the connection itself.
            if (event.type === 'error') (utterance ?? request()).fail(event.error);
            if (event.type !== 'partial') utterance = null;
            options.onEvent(event);
          },
        });
        return watchedSession(session, () => {
          // The one before was never read.
          utterance?.fail(null);
          utterance = request();
        });
      },
    };
  }

  #watchLlm(llm: LlmProvider): LlmProvider {
    const request = this.#requests('llm', llm.vendor);
    const { complete } = llm;
    return {
      ...llm,
      greeting: (language) => llm.greeting?.(language) ?? null,
      // Its time is not noted: a whole answer would look like a late first word.
      ...(complete === undefined ? {} : { complete: watchedQuestion(complete.bind(llm), request) }),
      async *reply(asked, signal) {
        const watch = request();
        const parts = llm.reply(asked, signal);
        try {
          const step = await parts.next();
          watch.first();
          if (step.done === true) return step.value;
          yield step.value;
          return yield* parts;
        } catch (error) {
          watch.fail(error);
          throw error;
        } finally {
          await parts.return(undefined);
        }
      },
    };
  }

  #watchTts(tts: TtsProvider): TtsProvider {
    const request = this.#requests('tts', tts.vendor);
    return {
      ...tts,
      async *speak(asked, signal) {
        const watch = request();
        try {
          for await (const chunk of tts.speak(asked, signal)) {
            watch.first();
            yield chunk;
          }
          watch.first();
        } catch (error) {
          watch.fail(error);
          throw error;
        }
      },
    };
  }

  /** Its requests are the openings of sessions, and what breaks them. */
  #watchRealtime(realtime: RealtimeProvider): RealtimeProvider {
    const request = this.#requests('realtime', realtime.vendor);
    return {
      ...realtime,
      open: async (options, signal) => {
        const watch = request();
        const onEvent: typeof options.onEvent = (event) => {
          if (event.type === 'error' && event.isFatal) request().fail(event.error);
          options.onEvent(event);
        };
        try {
          const session = await realtime.open({ ...options, onEvent }, signal);
          watch.first();
          return session;
        } catch (error) {
          watch.fail(error);
          throw error;
        }
      },
    };
  }

  #requests(kind: ProviderKind, name: string): () => Watch {
    const key = `${kind} ${name}`;
    const vendor = this.#vendors.get(key) ?? new Vendor();
    this.#vendors.set(key, vendor);
    const { clock, onFailed } = this.#options;
    return () => watchOf(clock, vendor, () => onFailed(kind, name));
  }
}

/** Of the accounts at one vendor: whether they are asked. */
function stateOf(members: readonly PoolMember[]): ProviderHealthState['state'] {
  const open = members.filter(({ breaker }) => breaker.state === 'open').length;
  if (open === 0) return 'up';
  return open === members.length ? 'down' : 'degraded';
}

const STATES = ['up', 'degraded', 'down'] as const;

function worse(
  a: ProviderHealthState['state'],
  b: ProviderHealthState['state'],
): ProviderHealthState['state'] {
  return STATES[Math.max(STATES.indexOf(a), STATES.indexOf(b))] ?? 'down';
}

/** One request: its first result counts as success, a later failure still as a failure. */
type Watch = { first(): void; done(): void; fail(error: unknown): void };

function watchedQuestion<A extends unknown[], T>(
  ask: (...asked: A) => Promise<T>,
  request: () => Watch,
): (...asked: A) => Promise<T> {
  return async (...asked) => {
    const watch = request();
    try {
      const answer = await ask(...asked);
      watch.done();
      return answer;
    } catch (error) {
      watch.fail(error);
      throw error;
    }
  };
}

function watchOf(clock: Clock, vendor: Vendor, onFailed: () => void): Watch {
  const startMs = clock.now();
  let isFirst = true;
  const done = (): void => {
    isFirst = false;
    vendor.note(clock.now(), true);
  };
  return {
    first() {
      if (!isFirst) return;
      vendor.firstMs.add(clock.now() - startMs);
      done();
    },
    done,
    fail(error) {
      const isAborted = error instanceof AppError && error.code === 'E_ABORTED';
      // Given up by us: the caller went on, or the call is over. Unless we had waited in vain.
      if (isAborted && !(isFirst && clock.now() - startMs >= STALL_MS)) return;
      isFirst = false;
      vendor.note(clock.now(), false);
      onFailed();
    },
  };
}

function watchedSession(session: SttSession, onStopped: () => void): SttSession {
  return {
    push: (pcm) => session.push(pcm),
    speechStarted: (startMs) => session.speechStarted(startMs),
    speechStopped: (audio) => {
      onStopped();
      session.speechStopped(audio);
    },
    close: () => session.close(),
  };
}
