/** Counts what the vendors do for one call (contract 2.8, usage). What is counted goes with the call's next event. */
import type { UsagePatch } from '#lib/call-events.ts';
import type { Id } from '#lib/ids.ts';
import type { LlmProvider, ProviderSet, SttProvider, TtsProvider } from '#providers/contract.ts';
import { SAMPLE_RATE_HZ } from '#media/types.ts';

/** Of one reply. */
const MAX_COUNT = 1e9;

/** Of one agent at one vendor, since the last `take`. */
type Counter = {
  readonly agentId: Id;
  readonly vendor: string;
  sttSamples: number;
  ttsChars: number;
  tokensIn: number;
  tokensOut: number;
};

export class UsageMeter {
  readonly #counters: Counter[] = [];

  /** `set`, with everything that it does counted for `agentId`. */
  watch(set: ProviderSet, agentId: Id): ProviderSet {
    return {
      stt: countedStt(set.stt, this.#counter(agentId, set.stt.vendor)),
      llm: countedLlm(set.llm, this.#counter(agentId, set.llm.vendor)),
      tts: countedTts(set.tts, this.#counter(agentId, set.tts.vendor)),
    };
  }

  /** What was counted since the last time; empties the meter. */
  take(): readonly UsagePatch[] {
    return this.#counters.flatMap((counter) => {
      const { agentId, vendor, sttSamples, ttsChars, tokensIn, tokensOut } = counter;
      if (sttSamples + ttsChars + tokensIn + tokensOut === 0) return [];
      Object.assign(counter, { sttSamples: 0, ttsChars: 0, tokensIn: 0, tokensOut: 0 });
      return {
        ...{ agent_id: agentId, vendor },
        ...(sttSamples === 0 ? {} : { stt_seconds: sttSamples / SAMPLE_RATE_HZ }),
        ...(ttsChars === 0 ? {} : { tts_chars: ttsChars }),
        ...(tokensIn === 0 ? {} : { llm_tokens_in: tokensIn }),
        ...(tokensOut === 0 ? {} : { llm_tokens_out: tokensOut }),
      };
    });
  }

  #counter(agentId: Id, vendor: string): Counter {
    const known = this.#counters.find((each) => each.agentId === agentId && each.vendor === vendor);
    if (known !== undefined) return known;
    const counter = { agentId, vendor, sttSamples: 0, ttsChars: 0, tokensIn: 0, tokensOut: 0 };
    this.#counters.push(counter);
    return counter;
  }
}

function countedStt(stt: SttProvider, counter: Counter): SttProvider {
  return {
    vendor: stt.vendor,
    reads: stt.reads,
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

function countedLlm(llm: LlmProvider, counter: Counter): LlmProvider {
  const { complete } = llm;
  return {
    vendor: llm.vendor,
    greeting: (language) => llm.greeting?.(language) ?? null,
    ...(complete === undefined ? {} : { complete: complete.bind(llm) }),
    reply: async function* (request, signal) {
      const usage = yield* llm.reply(request, signal);
      counter.tokensIn += countOf(usage?.inputTokens);
      counter.tokensOut += countOf(usage?.outputTokens);
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
    vendor: tts.vendor,
    speak: (request, signal) => {
      counter.ttsChars += Array.from(request.text).length;
      return tts.speak(request, signal);
    },
  };
}
