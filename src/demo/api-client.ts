/** The few HTTP calls the demo makes, as any client of the public API would make them. */
import { AppError, messageOf } from '#lib/errors.ts';

const REQUEST_TIMEOUT_MS = 5000;

export type DemoMessage = {
  readonly role: string;
  readonly content: string;
  readonly start_ms?: number;
  readonly end_ms?: number;
  readonly latency_ms?: number;
  readonly interrupted?: boolean;
};

export type Percentiles = { readonly p50: number; readonly p90: number; readonly max: number };

export type DemoRecord = {
  readonly id: string;
  readonly status: string;
  readonly outcome: string | null;
  readonly duration_seconds: number | null;
  readonly sip_call_id: string | null;
  readonly messages: readonly DemoMessage[];
  readonly recording: { readonly status: string; readonly url: string } | null;
  readonly recording_status: string;
  readonly latency: {
    readonly turns: number;
    readonly mouth_to_ear_ms: Percentiles;
    readonly parts_ms: Readonly<Record<string, Percentiles>>;
  } | null;
};

export type ApiClient = {
  /** Null when nothing answers; the body's `status` otherwise. Errors: E_CONFIG when something else lives there. */
  health(): Promise<string | null>;
  isReady(): Promise<boolean>;
  /** Ids of the newest records. Errors: E_CONFIG for a refused key, E_TIMEOUT, E_INTERNAL. */
  newest(): Promise<readonly string[]>;
  record(id: string): Promise<DemoRecord>;
  conversation(id: string): Promise<readonly DemoMessage[]>;
};

export function createApiClient(apiUrl: string, apiKey: () => string): ApiClient {
  const base = apiUrl.replace(/\/+$/, '');
  const get = async <T>(path: string): Promise<T> => {
    const response = await ask(`${base}${path}`, { authorization: `Bearer ${apiKey()}` });
    if (response.status === 401 || response.status === 403) {
      throw new AppError('E_CONFIG', `the server does not accept the API key (${response.status})`);
    }
    const body = (await response.json()) as { data?: T; message?: string };
    if (!response.ok || body.data === undefined) {
      throw new AppError('E_INTERNAL', `GET ${path}: ${response.status} ${body.message ?? ''}`);
    }
    return body.data;
  };
  return {
    health: () => health(base),
    isReady: async () => (await ask(`${base}/ready`, {})).ok,
    newest: async () => {
      const list = await get<{ records: { id: string }[] }>('/api/v1/call-records?page_size=5');
      return list.records.map((row) => row.id);
    },
    record: (id) => get<DemoRecord>(`/api/v1/call-records/${id}`),
    conversation: async (id) => {
      const answer = await get<{ messages: DemoMessage[] }>(`/api/call/${id}/conversation`);
      return answer.messages;
    },
  };
}

async function ask(url: string, headers: Readonly<Record<string, string>>): Promise<Response> {
  try {
    return await fetch(url, { headers, signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) });
  } catch (error) {
    const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
    throw new AppError('E_TIMEOUT', `no answer from ${url}: ${messageOf(cause)}`, { cause: error });
  }
}

async function health(base: string): Promise<string | null> {
  let response: Response;
  try {
    response = await ask(`${base}/health`, {});
  } catch (error) {
    if (error instanceof AppError && error.code === 'E_TIMEOUT') return null;
    throw error;
  }
  const text = await response.text();
  const status = /"status"\s*:\s*"([a-z_]+)"/.exec(text)?.[1];
  if (status === undefined) {
    throw new AppError('E_CONFIG', `something else than Callyard answers on ${base}`);
  }
  return status;
}
