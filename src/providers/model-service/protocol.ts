/** Callyard's open protocol for a speech-to-speech model behind a URL (docs/model-service.md). */
import { AppError, type ErrorCode } from '#lib/errors.ts';
import { isObject, numberAt, textAt, type Json } from '../realtime-json.ts';
import type { LineCall } from '../realtime-line.ts';

/** Changes when a server that knows the old one would misunderstand. */
export const PROTOCOL = 'callyard.model/1';

export const RATES_HZ = [8_000, 16_000, 24_000, 48_000] as const;
export type RateHz = (typeof RATES_HZ)[number];

export type Rates = { readonly inputHz: RateHz; readonly outputHz: RateHz };

/** The first frame. */
export function startFrame(call: LineCall, model: string, rates: Rates, isResumed: boolean): Json {
  const { callId, language, instructions, tools, history } = call;
  return {
    ...{ type: 'start', protocol: PROTOCOL, call_id: callId, language, instructions },
    ...(model === '' ? {} : { model }),
    ...{ input_sample_rate: rates.inputHz, output_sample_rate: rates.outputHz },
    tools: tools.map(({ name, description, parameters }) => ({ name, description, parameters })),
    history: history.map(({ role, content, toolCalls, toolCallId }) => ({
      ...{ role, content },
      ...(toolCalls === undefined ? {} : { tool_calls: toolCalls }),
      ...(toolCallId === undefined ? {} : { tool_call_id: toolCallId }),
    })),
    resumed: isResumed,
  };
}

/** What the server wants of the rates offered. Errors: E_PROVIDER_PARAM for another protocol or an unknown rate. */
export function readReady(frame: Json, offered: Rates): Rates {
  const protocol = textAt(frame, 'protocol');
  if (protocol !== PROTOCOL) {
    const text = `model service: it speaks '${protocol.slice(0, 40)}' instead of ${PROTOCOL}`;
    throw new AppError('E_PROVIDER_PARAM', text);
  }
  return {
    inputHz: rateAt(frame, 'input_sample_rate', offered.inputHz),
    outputHz: rateAt(frame, 'output_sample_rate', offered.outputHz),
  };
}

function rateAt(frame: Json, name: string, standard: RateHz): RateHz {
  if (frame[name] === undefined) return standard;
  const wanted = numberAt(frame, name);
  const found = RATES_HZ.find((rate) => rate === wanted);
  if (found !== undefined) return found;
  throw new AppError(
    'E_PROVIDER_PARAM',
    `model service: ${name} is none of ${RATES_HZ.join(', ')}`,
  );
}

/** The codes of `error` frames. */
const CODES: Readonly<Record<string, ErrorCode>> = {
  auth: 'E_PROVIDER_AUTH',
  param: 'E_PROVIDER_PARAM',
  quota: 'E_PROVIDER_QUOTA',
  idle: 'E_PROVIDER_IDLE',
  server: 'E_PROVIDER_SERVER',
  content: 'E_PROVIDER_CONTENT',
};

const MAX_MESSAGE_CHARS = 200;

export function errorFrame(setting: string, frame: Json): AppError {
  const vendorCode = textAt(frame, 'code');
  const code = CODES[vendorCode] ?? 'E_PROVIDER_SERVER';
  const said = textAt(frame, 'message').replace(/\s+/g, ' ').slice(0, MAX_MESSAGE_CHARS);
  const text =
    code === 'E_PROVIDER_AUTH'
      ? `${setting}: the model service does not accept credentials.api_key`
      : `model service: ${said}`;
  return new AppError(code, text, { details: { vendorCode } });
}

/** Null: not to be carried out. */
export function argumentsOf(frame: Json): Json | null {
  const given = frame['arguments'] ?? {};
  return isObject(given) ? given : null;
}
