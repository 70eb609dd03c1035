/**
 * Counts what the vendors do for one call, and what it costs (contract 2.8, usage). What is counted goes with the call's
 * next event, so it is stored once, whatever is replayed; of providers that stand in for each other each is counted for
 * what it was given.
 */
import type { UsagePatch } from '#lib/call-events.ts';
import type { Id } from '#lib/ids.ts';
import { costOf, MICROS, type Money, type PriceTable, type UsedUnits } from '#lib/prices.ts';
import {
  tapped,
  type LlmProvider,
  type LlmUsage,
  type ProviderName,
  type ProviderSet,
  type ProviderTap,
  type RealtimeProvider,
  type SttProvider,
  type TtsProvider,
} from '#providers/contract.ts';
import { SAMPLE_RATE_HZ } from '#media/types.ts';

/** Of one reply. */
const MAX_COUNT = 1e9;

/** Of one agent at one vendor, on one list of prices, since the last `take`. */
type Counter = {
  readonly agentId: Id;
  readonly vendor: string;
  readonly prices: PriceTable | null;
  sttSamples: number;
  ttsChars: number;
  realtimeSamples: number;
  tokensIn: number;
  tokensOut: number;
  /** Since the beginning, not rounded, and as it was told, in millionths. */
  cost: number | null;
  toldMicros: number;
};

export class UsageMeter {
  readonly #counters: Counter[] = [];
  /** Of what was counted before this meter began. */
  #before: Money | null = null;

  /** A conversation that is taken up again had cost so much. */
  goOnFrom(before: Money | null): void {
    this.#before = before;
  }

  /** `set`, with everything that it does counted for `agentId`. */
  watch(set: ProviderSet, agentId: Id): ProviderSet {
    const of = (name: ProviderName): Counter => this.#counter(agentId, name);
    const tap: ProviderTap = {
      stt: (stt, name) => countedStt(stt, of(name)),
      llm: (llm, name) => countedLlm(llm, of(name)),
      tts: (tts, name) => countedTts(tts, of(name)),
      realtime: (realtime, name) => countedRealtime(realtime, of(name)),
    };
    return tapped(set, tap);
  }

  /** `set`, with the questions to its model counted that are asked about the conversation: who answers, what was said. */
  watchQuestions(set: ProviderSet, agentId: Id): ProviderSet {
    const tap: ProviderTap = {
      stt: (stt) => stt,
      llm: (llm, name) => countedLlm(llm, this.#counter(agentId, name), true),
      tts: (tts) => tts,
      realtime: (realtime) => realtime,
    };
    return tapped(set, tap);
  }

  /** What was counted since the last time; empties the meter. */
  take(): readonly UsagePatch[] {
    return this.#counters.flatMap((counter) => {
      const used = unitsOf(counter);
      if (Object.keys(used).length === 0) return [];
      const zero = { sttSamples: 0, ttsChars: 0, realtimeSamples: 0, tokensIn: 0, tokensOut: 0 };
      Object.assign(counter, zero);
      const { agentId, vendor } = counter;
      return { ...{ agent_id: agentId, vendor }, ...used, ...charge(counter, used) };
    });
  }

  /** Of all that was counted, taken or not, in the currency of the account; null when no price is known. */
  get cost(): Money | null {
    let micros = Math.round((this.#before?.amount ?? 0) * MICROS);
    let currency = this.#before?.currency ?? null;
    for (const counter of this.#counters) {
      const due = dueOf(counter, unitsOf(counter));
      if (due === null || counter.prices === null) continue;
      currency ??= counter.prices.currency;
      if (counter.prices.currency === currency) micros += Math.round(due * MICROS);
    }
    return currency === null ? null : { amount: micros / MICROS, currency };
  }

  #counter(agentId: Id, { vendor, prices }: ProviderName): Counter {
    const known = this.#counters.find(
      (each) =>
        each.agentId === agentId &&
        each.vendor === vendor &&
        JSON.stringify(each.prices) === JSON.stringify(prices),
    );
    if (known !== undefined) return known;
    const counter: Counter = {
      ...{ agentId, vendor, prices },
      ...{ sttSamples: 0, ttsChars: 0, realtimeSamples: 0, tokensIn: 0, tokensOut: 0 },
      ...{ cost: null, toldMicros: 0 },
    };
    this.#counters.push(counter);
    return counter;
  }
}

function unitsOf({
  sttSamples,
  ttsChars,
  realtimeSamples,
  tokensIn,
  tokensOut,
}: Counter): UsedUnits {
  return {
    ...(sttSamples === 0 ? {} : { stt_seconds: sttSamples / SAMPLE_RATE_HZ }),
    ...(ttsChars === 0 ? {} : { tts_chars: ttsChars }),
    ...(realtimeSamples === 0 ? {} : { realtime_seconds: realtimeSamples / SAMPLE_RATE_HZ }),
    ...(tokensIn === 0 ? {} : { llm_tokens_in: tokensIn }),
    ...(tokensOut === 0 ? {} : { llm_tokens_out: tokensOut }),
  };
}

function dueOf({ cost, prices }: Counter, used: UsedUnits): number | null {
  const more = costOf(used, prices);
  return more === null ? cost : (cost ?? 0) + more;
}

/** What is told adds up to the rounded sum, however often it is told. */
function charge(counter: Counter, used: UsedUnits): Pick<UsagePatch, 'cost' | 'currency'> {
  const due = dueOf(counter, used);
  if (due === null || counter.prices === null) return {};
  counter.cost = due;
  const micros = Math.round(due * MICROS) - counter.toldMicros;
  counter.toldMicros += micros;
  return { cost: micros / MICROS, currency: counter.prices.currency };
}

function countedStt(stt: SttProvider, counter: Counter): SttProvider {
  return {
    ...stt,
    open: (options) => {
      const session = stt.open(options);
      return {
        push: (pcm) => {
          counter.sttSamples += pcm.length;
          session.push(pcm);
        },
        speechStarted: (startMs) => session.speechStarted(startMs),
        speechStopped: (audio) => session.speechStopped(audio),
        close: () => session.close(),
      };
    },
  };
}

/** `complete` is counted by whoever knows for which call it is. */
function countedLlm(llm: LlmProvider, counter: Counter, completions = false): LlmProvider {
  const { complete } = llm;
  const add = (usage: LlmUsage | null | undefined): void => {
    counter.tokensIn += countOf(usage?.inputTokens);
    counter.tokensOut += countOf(usage?.outputTokens);
  };
  const ask: LlmProvider['complete'] = async (request, signal) => {
    const answer = await (complete as NonNullable<typeof complete>).call(llm, request, signal);
    if (completions) add(answer.usage);
    return answer;
  };
  return {
    ...llm,
    greeting: (language) => llm.greeting?.(language) ?? null,
    ...(complete === undefined ? {} : { complete: ask }),
    reply: async function* (request, signal) {
      const usage = yield* llm.reply(request, signal);
      add(usage);
      return usage;
    },
  };
}

/** Servers of all kinds speak the protocol: what is no count must not reach the sums. */
function countOf(told: unknown): number {
  return typeof told === 'number' && told > 0 ? Math.min(Math.round(told), MAX_COUNT) : 0;
}

/** Vendors count what they are given, whether or not all of it is heard. */
function countedTts(tts: TtsProvider, counter: Counter): TtsProvider {
  return {
    ...tts,
    speak: (request, signal) => {
      counter.ttsChars += Array.from(request.text).length;
      return tts.speak(request, signal);
    },
  };
}

/** The time of a session is that of the caller's audio, which never stops while it is open. */
function countedRealtime(realtime: RealtimeProvider, counter: Counter): RealtimeProvider {
  return {
    ...realtime,
    open: async (options, signal) => {
      const onEvent: typeof options.onEvent = (event) => {
        if (event.type === 'usage') {
          counter.tokensIn += countOf(event.usage.inputTokens);
          counter.tokensOut += countOf(event.usage.outputTokens);
        }
        options.onEvent(event);
      };
      const session = await realtime.open({ ...options, onEvent }, signal);
      return {
        push: (pcm) => {
          counter.realtimeSamples += pcm.length;
          session.push(pcm);
        },
        say: (text) => session.say(text),
        text: (text) => session.text(text),
        toolResult: (id, content) => session.toolResult(id, content),
        interrupt: (generation, heardMs) => session.interrupt(generation, heardMs),
        close: () => session.close(),
      };
    },
  };
}
