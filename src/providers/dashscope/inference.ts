/** The inference socket of DashScope (providers.md 2.1): one envelope for recogniser and voice, one task after the other. */
import { AppError, type ErrorCode } from '#lib/errors.ts';
import { partOf, readJson, textIn, type Json } from '../vendor-json.ts';
import { credential, flagOption, textOption, urlOption, type VendorSettings } from '../vendor.ts';
import type { ChannelOptions } from '../ws-channel.ts';

const VENDOR = 'dashscope';

/** The first that fits the vendor's error code or message. */
const CODES: readonly (readonly [RegExp, ErrorCode])[] = [
  [/timeout!|NO_VALID_AUDIO|idle/i, 'E_PROVIDER_IDLE'],
  [/InvalidApiKey|Arrearage|Access\W?Denied|Unauthorized|NoAuth/i, 'E_PROVIDER_AUTH'],
  [/Throttling|rate ?limit|RateQuota|AllocationQuota|concurren/i, 'E_PROVIDER_QUOTA'],
  [/DataInspection|inappropriate/i, 'E_PROVIDER_CONTENT'],
  [/InvalidParameter|UNSUPPORTED|BadRequest|ModelNotFound|InvalidURL/i, 'E_PROVIDER_PARAM'],
];

export type Gate = Pick<ChannelOptions, 'url' | 'headers' | 'refused'> & {
  readonly setting: string;
};

export const INFERENCE_URL = 'wss://dashscope.aliyuncs.com/api-ws/v1/inference';

/** `option` names the address. Errors: E_CONFIG. */
export function gateOf(settings: VendorSettings, option = 'url', standard = INFERENCE_URL): Gate {
  const { setting } = settings;
  const inspects = flagOption(settings, 'data_inspection', false);
  const workspace = textOption(settings, 'workspace', '');
  return {
    setting,
    url: urlOption(settings, option, standard),
    headers: {
      authorization: `Bearer ${credential(settings, 'api_key')}`,
      ...(workspace === '' ? {} : { 'X-DashScope-WorkSpace': workspace }),
      ...(inspects ? { 'X-DashScope-DataInspection': 'enable' } : {}),
    },
    refused: (status, body) => refusal(status, body, setting),
  };
}

export type Action = 'run-task' | 'continue-task' | 'finish-task';

export function message(action: Action, taskId: string, payload: object): string {
  return JSON.stringify({ header: { action, task_id: taskId, streaming: 'duplex' }, payload });
}

export type TaskEvent = {
  readonly name: 'task-started' | 'result-generated' | 'task-finished' | 'other';
  readonly taskId: string;
  readonly output: Json;
};

/** Errors: the vendor's, by its class; E_PROVIDER_SERVER for what is no message. */
export function readEvent(text: string, setting: string): TaskEvent {
  const whole = readJson(VENDOR, text);
  const header = partOf(whole, 'header');
  const event = textIn(header, 'event');
  if (event === 'task-failed') {
    throw vendorError(textIn(header, 'error_code'), textIn(header, 'error_message'), setting);
  }
  const known = ['task-started', 'result-generated', 'task-finished'] as const;
  return {
    name: known.find((each) => each === event) ?? 'other',
    taskId: textIn(header, 'task_id'),
    output: partOf(partOf(whole, 'payload'), 'output'),
  };
}

/** By the vendor's own code, else by what it says. */
export function vendorError(code: string, said: string, setting: string): AppError {
  const found = CODES.find(([pattern]) => pattern.test(code) || pattern.test(said));
  const kind = found?.[1] ?? 'E_PROVIDER_SERVER';
  const whose = `${setting}: credentials.api_key is refused, or its account may not use this`;
  const what = kind === 'E_PROVIDER_AUTH' ? `${whose}: ${code}` : `${code} ${said}`.trim();
  return new AppError(kind, `dashscope: ${what.slice(0, 240)}`, {
    details: { vendor: VENDOR, vendorCode: code },
  });
}

function refusal(status: number, body: string, setting: string): AppError {
  const code = /"code"\s*:\s*"([\w.]{1,60})"/.exec(body)?.[1] ?? `HTTP_${status}`;
  if (status === 401 || status === 403) {
    const what = `dashscope: ${setting}: credentials.api_key is refused (${status})`;
    return new AppError('E_PROVIDER_AUTH', what, {
      details: { vendor: VENDOR, vendorCode: code, status },
    });
  }
  const kind =
    status === 429 ? 'E_PROVIDER_QUOTA' : status < 500 ? 'E_PROVIDER_PARAM' : 'E_PROVIDER_SERVER';
  return new AppError(kind, `dashscope: the connection was refused with ${status}`, {
    details: { vendor: VENDOR, vendorCode: code, status },
  });
}
