/** What the scripted providers say and do, as a JSON file or an object, checked with errors that name the place. */
import { readFileSync } from 'node:fs';
import { Type, type Static } from 'typebox';
import { Value } from 'typebox/value';
import { AppError, messageOf } from '#lib/errors.ts';
import { MAX_UTTERANCE_ID } from '#lib/utterance-tones.ts';

const DelayMs = Type.Number({ minimum: 0, maximum: 600_000 });
const strict = { additionalProperties: false } as const;
const Kind = Type.Union([
  Type.Literal('error'),
  Type.Literal('error_midway'),
  Type.Literal('hang'),
  Type.Literal('malformed'),
  Type.Literal('slow'),
  Type.Literal('junk'),
]);

const Reply = Type.Object(
  {
    /** `/regex/flags`, or the caller's text itself (case and outer spaces do not count). */
    match: Type.Optional(Type.String()),
    /** Which reply of the call this is, from 1. */
    turn: Type.Optional(Type.Integer({ minimum: 1 })),
    /** Only once a system message of the history fits: its prompt, or a private note. */
    note: Type.Optional(Type.String()),
    /** Keys pressed. */
    dtmf: Type.Optional(Type.String({ pattern: '^[0-9*#A-D]+$' })),
    /** Answers the result of a function, as JSON, and nothing else. */
    result: Type.Optional(Type.String()),
    /** A function that is asked for behind the reply, if it was offered. */
    call: Type.Optional(
      Type.Object(
        { name: Type.String(), arguments: Type.Record(Type.String(), Type.Unknown()) },
        strict,
      ),
    ),
    /** `{text}` becomes what the caller said, or the result. */
    reply: Type.String(),
    delayMs: Type.Optional(DelayMs),
    language: Type.Optional(Type.Union([Type.Literal('zh'), Type.Literal('en')])),
    endCall: Type.Optional(Type.Boolean()),
  },
  strict,
);

const CompletionRule = Type.Object(
  {
    /** `/regex/flags` on the whole prompt, or the prompt itself. Absent: any. */
    match: Type.Optional(Type.String()),
    /** `{count}` becomes the number of this question, from 1. */
    reply: Type.String(),
    delayMs: Type.Optional(DelayMs),
  },
  strict,
);

const Fault = Type.Object(
  {
    provider: Type.Union([
      Type.Literal('stt'),
      Type.Literal('llm'),
      Type.Literal('tts'),
      Type.Literal('completion'),
    ]),
    kind: Kind,
    /** The how-manieth request: of the call for stt and llm, of the provider for tts and completion. Absent: all. */
    at: Type.Optional(Type.Integer({ minimum: 1 })),
    /** Only when the text (the caller's for stt and llm, the spoken one for tts, the prompt for completion) matches. */
    match: Type.Optional(Type.String()),
  },
  strict,
);

const Script = Type.Object(
  {
    /** Utterance id (0-511, as a string) -> what was said. */
    utterances: Type.Optional(Type.Record(Type.String(), Type.String())),
    /** The first that fits answers. */
    replies: Type.Optional(Type.Array(Reply)),
    /** When none fits. */
    defaultReply: Type.Optional(Type.String()),
    /** Questions outside a conversation (summaries, analyses); the first that fits answers. Absent: no such model. */
    completions: Type.Optional(Type.Array(CompletionRule)),
    greeting: Type.Optional(Type.String()),
    delays: Type.Optional(
      Type.Object(
        {
          /** Utterance end to `final`; first token; first audio; from sentence to sentence of a reply. */
          sttMs: Type.Optional(DelayMs),
          llmMs: Type.Optional(DelayMs),
          ttsMs: Type.Optional(DelayMs),
          sentenceMs: Type.Optional(DelayMs),
        },
        strict,
      ),
    ),
    faults: Type.Optional(Type.Array(Fault)),
  },
  strict,
);

export type SimScript = Static<typeof Script>;
export type SimReply = Static<typeof Reply>;
export type SimFault = Static<typeof Fault>;
export type FaultKind = SimFault['kind'];

/** Which faults each provider can play. */
const KINDS: { readonly [P in SimFault['provider']]: readonly FaultKind[] } = {
  stt: ['error', 'error_midway', 'hang'],
  llm: ['error', 'error_midway', 'hang', 'malformed'],
  completion: ['error', 'hang', 'malformed'],
  tts: ['error', 'error_midway', 'hang', 'slow', 'junk'],
};

/** Reads a script file. Errors: E_CONFIG naming file and place. */
export function readSimScript(path: string): SimScript {
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new AppError('E_CONFIG', `sim script ${path}: ${messageOf(error)}`, { cause: error });
  }
  return parseSimScript(json, `sim script ${path}`);
}

/** Checks a script. Errors: E_CONFIG whose message names every place that is wrong. */
export function parseSimScript(value: unknown, name = 'sim script'): SimScript {
  const faults = Value.Check(Script, value) ? meaningFaults(value) : shapeFaults(value);
  if (faults.length > 0) throw new AppError('E_CONFIG', `${name}: ${faults.join('; ')}`);
  return value as SimScript;
}

function shapeFaults(value: unknown): string[] {
  const faults = new Map<string, string>();
  for (const error of Value.Errors(Script, value)) {
    // Every unknown key is reported twice: the second names it in `params`.
    if (error.keyword === 'boolean') {
      faults.set(error.instancePath, `${error.instancePath}: unknown key`);
    } else if (error.keyword !== 'additionalProperties' && !faults.has(error.instancePath)) {
      faults.set(error.instancePath, `${error.instancePath || '/'}: ${explain(error)}`);
    }
  }
  return [...faults.values()];
}

function explain(error: { keyword: string; message: string }): string {
  return error.keyword === 'const' || error.keyword === 'anyOf'
    ? 'is none of the values allowed here'
    : error.message;
}

function meaningFaults(script: SimScript): string[] {
  const faults: string[] = [];
  for (const id of Object.keys(script.utterances ?? {})) {
    if (!/^\d{1,3}$/.test(id) || Number(id) > MAX_UTTERANCE_ID) {
      faults.push(`/utterances/${id}: an id is a number from 0 to ${MAX_UTTERANCE_ID}`);
    }
  }
  for (const [index, reply] of (script.replies ?? []).entries()) {
    faults.push(...patternFaults(`/replies/${index}/match`, reply.match));
    faults.push(...patternFaults(`/replies/${index}/note`, reply.note));
    faults.push(...patternFaults(`/replies/${index}/result`, reply.result));
  }
  for (const [index, rule] of (script.completions ?? []).entries()) {
    faults.push(...patternFaults(`/completions/${index}/match`, rule.match));
  }
  for (const [index, fault] of (script.faults ?? []).entries()) {
    faults.push(...patternFaults(`/faults/${index}/match`, fault.match));
    if (!KINDS[fault.provider].includes(fault.kind)) {
      const known = KINDS[fault.provider].join(', ');
      faults.push(`/faults/${index}/kind: ${fault.provider} can play ${known}`);
    }
  }
  return faults;
}

function patternFaults(path: string, match: string | undefined): string[] {
  try {
    if (match !== undefined) textMatcher(match);
    return [];
  } catch (error) {
    return [`${path}: ${messageOf(error)}`];
  }
}

/** A test for texts: `/regex/flags`, or the text itself. Errors: SyntaxError for a bad regex. */
export function textMatcher(match: string): (text: string) => boolean {
  const regex = /^\/(.*)\/([a-z]*)$/s.exec(match);
  if (regex === null) {
    const wanted = match.trim().toLowerCase();
    return (text) => text.trim().toLowerCase() === wanted;
  }
  const pattern = new RegExp(regex[1] ?? '', (regex[2] ?? '').replace(/[gy]/g, ''));
  return (text) => pattern.test(text);
}

/** The fault to play at request number `count` on `text`, if any. */
export function faultAt(
  script: SimScript,
  provider: SimFault['provider'],
  count: number,
  text: string,
): FaultKind | null {
  const fault = script.faults?.find(
    (candidate) =>
      candidate.provider === provider &&
      (candidate.at === undefined || candidate.at === count) &&
      (candidate.match === undefined || textMatcher(candidate.match)(text)),
  );
  return fault?.kind ?? null;
}
