/** A speaker with a scripted model, tools and voice, on a simulated clock. */
import { SimulatedClock } from '#lib/clock.ts';
import type { AgentConfig } from '#lib/agent-config.ts';
import { AppError } from '#lib/errors.ts';
import type {
  ReplyPart,
  ReplyRequest,
  ToolCall,
  TtsProvider,
  TtsRequest,
} from '#providers/contract.ts';
import { TurnTimes } from '#sessions/latency.ts';
import { Speaker, type Spoken, type SpeakerOptions, type Voice } from '#sessions/speaker.ts';
import type { ToolAnswer, ToolBox } from '#sessions/tool-box.ts';
import { Utterance } from '#sessions/utterance.ts';
import { AGENT, FakeMedia, NO_TOOLS, settle } from './_fakes.ts';

/** A text, a part, ms to wait, or an error to fail with. */
export type Step = string | number | ReplyPart | AppError;

export const FILLER = { afterMs: 2000, longAfterMs: 10_000, text: null, longText: null };

export type Rig = {
  readonly clock: SimulatedClock;
  readonly speaker: Speaker;
  readonly media: FakeMedia;
  /** What the model was asked, in order. */
  readonly requests: ReplyRequest[];
  /** When the model had said all it wanted, each time. */
  readonly finishedMs: number[];
  /** What the voice was asked, in order. */
  readonly asked: TtsRequest[];
  readonly faults: string[];
  /** Tools asked for, and those whose wait was given up. */
  readonly tools: string[];
  reply(): { readonly utterance: Utterance; readonly spoken: Promise<Spoken> };
  pass(ms: number): Promise<void>;
};

export type RigOptions = {
  readonly agent?: Partial<AgentConfig>;
  /** What the model says when it is asked the first time, the second, ... */
  readonly rounds: readonly (readonly Step[])[];
  /** By the tool's name: after so many ms, this. */
  readonly answers?: Readonly<Record<string, readonly [ms: number, answer: Partial<ToolAnswer>]>>;
  readonly quiet?: readonly string[];
  readonly options?: Partial<SpeakerOptions>;
  /** How long the voice takes to its first sound, ms. */
  readonly voiceMs?: number;
};

export function toolCall(name: string, id = name): ReplyPart {
  const call: ToolCall = { id, name, arguments: {} };
  return { type: 'tool_call', call };
}

/** 100 ms for each character. */
export function voiceOn(clock: SimulatedClock, asked: TtsRequest[], waitMs = 0): TtsProvider {
  return {
    vendor: 'fake',
    async *speak(request, signal) {
      asked.push(request);
      if (waitMs > 0) await wait(clock, waitMs);
      if (signal.aborted) throw new AppError('E_ABORTED', 'given up');
      if (request.text.includes('forbidden')) throw new AppError('E_PROVIDER_CONTENT', 'scripted');
      const chars = request.text.length;
      yield { pcm: new Int16Array(chars * 800), marks: [{ chars, ms: chars * 100 }] };
    },
  };
}

export function speakerRig(given: RigOptions): Rig {
  const clock = new SimulatedClock();
  const media = new FakeMedia(clock, []);
  media.start();
  const requests: ReplyRequest[] = [];
  const finishedMs: number[] = [];
  const asked: TtsRequest[] = [];
  const faults: string[] = [];
  const tools: string[] = [];
  const agent: AgentConfig = { ...AGENT, ...given.agent };
  const speaker = new Speaker({
    ...voiceOf(clock, agent, given.rounds, {
      requests,
      finishedMs,
      asked,
      voiceMs: given.voiceMs ?? 0,
    }),
    ...{ callId: 'c', announceOnly: false, media, clock, history: () => [], floor: null },
    onUsage: () => undefined,
    tools: toolsOn(clock, given, tools),
    onFault: (error) => faults.push(error instanceof AppError ? error.code : String(error)),
    ...given.options,
  });
  let number = 0;
  return {
    ...{ clock, speaker, media, requests, finishedMs, asked, faults, tools },
    reply() {
      number++;
      const utterance = new Utterance(number, number, new TurnTimes(() => clock.now()));
      const input = { kind: 'speech', text: 'x', audio: null } as const;
      return { utterance, spoken: speaker.speak(utterance, { kind: 'reply', input }) };
    },
    async pass(ms) {
      await settle();
      for (let at = 0; at < ms; at += 50) {
        clock.advance(50);
        await settle();
      }
    },
  };
}

export function voiceOf(
  clock: SimulatedClock,
  agent: AgentConfig,
  rounds: readonly (readonly Step[])[],
  told: Pick<Rig, 'requests' | 'asked'> & {
    readonly finishedMs?: number[];
    readonly voiceMs: number;
  },
): Voice {
  const { requests, asked, finishedMs, voiceMs } = told;
  let round = 0;
  return {
    agent,
    providers: {
      tts: voiceOn(clock, asked, voiceMs),
      llm: {
        vendor: 'mind',
        async *reply(request) {
          requests.push({ ...request, messages: [...request.messages] });
          for (const step of rounds[round++] ?? ['Nothing more.']) {
            if (typeof step === 'number') await wait(clock, step);
            else if (step instanceof AppError) throw step;
            else yield typeof step === 'string' ? { type: 'text', text: step } : step;
          }
          finishedMs?.push(clock.now());
          return undefined;
        },
      },
    },
  };
}

function toolsOn(
  clock: SimulatedClock,
  { answers = {}, quiet = [] }: RigOptions,
  tools: string[],
): ToolBox {
  return {
    ...NO_TOOLS,
    manner: ({ name }) => ({ say: null, isQuiet: quiet.includes(name) }),
    async ask({ name }, _, signal) {
      tools.push(`+${name}`);
      const [ms, answer] = answers[name] ?? [0, {}];
      const { promise, reject } = Promise.withResolvers<never>();
      signal.addEventListener('abort', () => {
        tools.push(`-${name}`);
        reject(new AppError('E_ABORTED', 'given up'));
      });
      const done = wait(clock, ms).then(() => tools.push(`=${name}`));
      await Promise.race([done, promise]);
      return { content: JSON.stringify(name), effect: null, ...answer };
    },
  };
}

function wait(clock: SimulatedClock, ms: number): Promise<void> {
  if (ms === 0) return Promise.resolve();
  const { promise, resolve } = Promise.withResolvers<void>();
  clock.setTimer(resolve, ms);
  return promise;
}
