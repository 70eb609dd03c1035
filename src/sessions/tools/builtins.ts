/** Tools that every installation has (docs/tools.md): what the model is told of them, and what they do. */
import { Type, type TObject } from 'typebox';
import type { AgentConfig, BuiltinTool } from '#lib/agent-config.ts';
import type { ToolManner } from '../tool-box.ts';
import { answerOf, fault } from './answers.ts';
import { prepareHandOff } from './hand-off.ts';
import type { KeyCollector } from './key-collector.ts';
import type {
  SendKeys,
  Tool,
  ToolCaller,
  ToolPorts,
  ToolResult,
  ToolSource,
  ToolTask,
} from './types.ts';

export type BuiltinParts = ToolCaller & {
  /** Null: this call has no other agents and no sound from outside. */
  readonly ports: Pick<ToolPorts, 'agents' | 'providersFor' | 'loadSound'> | null;
  /** Null where the call has no telephone. */
  readonly sendKeys: SendKeys | null;
  readonly keys: KeyCollector;
  /** Called when the call needs no sound any more. */
  readonly atEnd: (release: () => void) => void;
};

type Given = ToolTask['arguments'];
type Builtin = {
  readonly description: string;
  readonly parameters: TObject;
  readonly manner?: (given: Given) => ToolManner;
  run(parts: BuiltinParts, task: ToolTask): ToolResult | Promise<ToolResult>;
};

const DONE = JSON.stringify({ ok: true });
const closed = { additionalProperties: false } as const;
const words = (description: string, maxLength = 500) =>
  Type.String({ description, maxLength, minLength: 1 });

const FINISH_KEYS = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#', ''];
const [TONE_MS, GAP_MS] = [100, 100];
const KEY_TIMEOUT_S = 8;
const KEY_GAP_MS = 3_000;
/** The model waits for its end. */
const MAX_SOUND_S = 300;
const MAX_SAMPLES = MAX_SOUND_S * 8_000;

export const BUILTINS: { readonly [N in BuiltinTool]: Builtin } = {
  end_call: {
    description:
      'Hangs up once everything said has been heard. Use it when the conversation is over.',
    parameters: Type.Object(
      {
        reason: Type.Optional(words('Why, for the record')),
        say: Type.Optional(words('A farewell that is said before')),
      },
      closed,
    ),
    manner: ({ say }) => ({ say: textOf(say), isQuiet: true }),
    run: () => ({ content: DONE, effect: { kind: 'end_call' } }),
  },
  transfer_call: {
    description: 'Transfers the caller to a person, a number or an extension.',
    parameters: Type.Object(
      {
        to: words('Number, extension or SIP address', 255),
        reason: Type.Optional(words('Why, for whoever takes the call')),
      },
      closed,
    ),
    run: () =>
      fault('this installation cannot transfer calls yet', {
        advice: 'Tell the caller so, and offer to take a message or to be called back.',
      }),
  },
  send_dtmf: {
    description:
      'Presses keys for the other side, for example in its menu. `w` is a pause of half a second.',
    parameters: Type.Object(
      { digits: Type.String({ minLength: 1, maxLength: 64, description: '0-9, A-D, *, #, w' }) },
      closed,
    ),
    run: (parts, { arguments: given }) => sendKeys(parts, String(given['digits'])),
  },
  collect_dtmf: {
    description:
      'Waits for keys that the caller presses, such as a card or customer number, and returns them together.',
    parameters: Type.Object(
      {
        max_digits: Type.Optional(Type.Integer({ minimum: 1, maximum: 32, default: 16 })),
        finish_on: Type.Optional(
          Type.Enum(FINISH_KEYS, { description: 'The key that ends the input; default #' }),
        ),
        timeout_s: Type.Optional(
          Type.Number({
            ...{ minimum: 1, maximum: 60 },
            description: `How long to wait for the first key; default ${KEY_TIMEOUT_S}`,
          }),
        ),
        prompt: Type.Optional(words('Said before, e.g. what to press')),
      },
      closed,
    ),
    manner: ({ prompt }) => ({ say: textOf(prompt), isQuiet: true }),
    run: collectKeys,
  },
  play_audio: {
    description: 'Plays a sound file (WAV or MP3) to the caller.',
    parameters: Type.Object(
      {
        url: Type.Optional(words('Where the file is', 2_048)),
        name: Type.Optional(words('Name of a variable of the agent that holds the URL', 64)),
      },
      closed,
    ),
    run: playAudio,
  },
  hand_off: {
    description:
      'Another assistant goes on with the caller. It knows what was said, and your summary.',
    parameters: Type.Object(
      {
        assistant_id: Type.Optional(words('Id of the assistant', 64)),
        name: Type.Optional(words('Its name', 255)),
        summary: words('What the caller wants and what is still open', 1_000),
      },
      closed,
    ),
    run: handOff,
  },
  note: {
    description: 'Keeps a note in the record of the call. Nobody hears it.',
    parameters: Type.Object({ text: words('The note', 2_000) }, closed),
    run: ({ story }, { arguments: given }) => {
      const content = `[Note] ${String(given['text'])}`;
      story.message({ role: 'system', content }, story.callTimeMs());
      return DONE;
    },
  },
};

/** Those that the agent may use. */
export function builtinSource(parts: BuiltinParts): ToolSource {
  return {
    offered: ({ tools }: AgentConfig) =>
      (tools?.builtins ?? []).map((name): Tool => {
        const builtin = BUILTINS[name];
        const { description, parameters, manner } = builtin;
        return {
          ...{ name, description, parameters: { ...parameters } },
          ...(manner === undefined ? {} : { manner }),
          run: async (task) => builtin.run(parts, task),
        };
      }),
    close: () => parts.keys.close(),
  };
}

const KEYS = /^[0-9A-D*#w]{1,64}$/;

async function sendKeys({ sendKeys: send }: BuiltinParts, given: string): Promise<string> {
  const digits = given
    .toUpperCase()
    .replaceAll('W', 'w')
    .replaceAll(/[ ()-]/g, '');
  if (!KEYS.test(digits)) return fault('digits are 0-9, A-D, *, # and w for a pause');
  if (send === null) return fault('this call has no telephone that keys could be sent to');
  const result = await send(digits);
  if (result.ok) return answerOf({ sent: result.data.sent });
  return fault(`the keys were not sent: ${(result.detail ?? result.refusal).toLowerCase()}`);
}

/** What SendKeys is to be given besides the digits. */
export const KEY_TIMES = { toneMs: TONE_MS, gapMs: GAP_MS } as const;

async function collectKeys({ keys }: BuiltinParts, { arguments: given, wait }: ToolTask) {
  const { max_digits: max, finish_on: finish, timeout_s: timeoutS } = given;
  const finishOn = typeof finish === 'string' ? finish : '#';
  const pressed = keys.collect(
    {
      maxDigits: typeof max === 'number' ? max : 16,
      finishOn: finishOn === '' ? null : finishOn,
      timeoutMs: (typeof timeoutS === 'number' ? timeoutS : KEY_TIMEOUT_S) * 1_000,
      gapMs: KEY_GAP_MS,
    },
    wait,
  );
  return pressed === null ? fault('keys are collected already') : answerOf(await pressed);
}

async function playAudio(
  parts: BuiltinParts,
  { arguments: given, agent }: ToolTask,
): Promise<ToolResult> {
  const { ports, story } = parts;
  const name = textOf(given['name']);
  const url = textOf(given['url']) ?? (name === null ? null : (agent.variables[name] ?? null));
  if (url === null)
    return fault(name === null ? 'url or name is needed' : 'no sound has that name');
  if (ports === null) return fault('sound cannot be played here');
  const { pcm, title, release } = await ports.loadSound(story.accountId, url);
  parts.atEnd(release);
  if (pcm.length > MAX_SAMPLES) return fault(`longer than ${MAX_SOUND_S} s`);
  const seconds = Math.round(pcm.length / 800) / 10;
  const effect = { kind: 'play', pcm, title: `[Audio: ${title}]` } as const;
  return { content: answerOf({ ok: true, seconds }), effect };
}

async function handOff(
  parts: BuiltinParts,
  { arguments: given, agent }: ToolTask,
): Promise<ToolResult> {
  const { story, clock, ports } = parts;
  const to = textOf(given['assistant_id']) ?? textOf(given['name']);
  if (to === null) return fault('assistant_id or name is needed');
  if (ports === null) return fault('there is no other agent here');
  if (story.snapshot().squadId !== null)
    return fault('a squad decides by itself who goes on: just answer');
  const wish = { to, summary: String(given['summary']) };
  const {
    voice,
    words: told,
    summary,
  } = await prepareHandOff(wish, agent, { story, ports, clock });
  const { agent: next } = voice;
  const effect = { kind: 'hand_off', agentId: next.id, summary: told, voice } as const;
  const onTaken = (): void => {
    if (next.maskAtRest) story.maskFromNow();
    story.handedOver(agent.id, next.id, summary);
  };
  return { content: answerOf({ ok: true, assistant: next.name }), effect, onTaken };
}

function textOf(value: unknown): string | null {
  return typeof value === 'string' && value.trim() !== '' ? value.trim() : null;
}
