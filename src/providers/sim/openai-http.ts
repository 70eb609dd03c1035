/**
 * Vendors of the OpenAI HTTP protocol on loopback: chat by server-sent events with each vendor's own rules (providers.md
 * 9), transcription and speech (8.2, 8.3). What a vendor would refuse with 400 is refused, and noted.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { bytesOf } from '../rates.ts';
import { CHAT_RULES, type ChatRules, type ChatSimVendor } from './openai-rules.ts';
import { FaultPlan, startVendorServer, type VendorFault } from './vendor-server.ts';
import { SimHearing } from './vendor-hearing.ts';
import { simSpeech } from './vendor-voice.ts';

export type OpenAiSimOptions = {
  readonly vendor: ChatSimVendor;
  readonly apiKey: string;
  /** What is answered; by default what the user said, repeated. */
  readonly reply?: string;
  /** Asked for instead, when tools are offered and none was answered yet. */
  readonly call?: { readonly name: string; readonly arguments: object };
  /** Utterance id -> words, of transcription. */
  readonly words?: Readonly<Record<string, string>>;
};

export type OpenAiSim = {
  readonly baseUrl: string;
  readonly faults: FaultPlan;
  /** What was wrong with what a client sent. */
  readonly violations: string[];
  /** Bodies of chat requests, in order. */
  readonly asked: Record<string, unknown>[];
  /** Tokens that a careful accountant would have billed. */
  readonly billed: { input: number; output: number };
  readonly openRequests: number;
  close(): Promise<void>;
};

const STREAM_HEAD = { 'content-type': 'text/event-stream' };
const JSON_HEAD = { 'content-type': 'application/json' };
const MAX_BODY_BYTES = 30 * 1024 * 1024;

export async function startOpenAiSim(options: OpenAiSimOptions): Promise<OpenAiSim> {
  const faults = new FaultPlan();
  const violations: string[] = [];
  const asked: Record<string, unknown>[] = [];
  const billed = { input: 0, output: 0 };
  const rules = CHAT_RULES[options.vendor];
  let openRequests = 0;
  const server = await startVendorServer({
    onRequest: (request, response, url) => {
      openRequests += 1;
      response.once('close', () => (openRequests -= 1));
      const job = { options, rules, faults, violations, asked, billed, request, response };
      void answer(job, url.pathname);
    },
  });
  return {
    baseUrl: `${server.httpUrl}/v1`,
    ...{ faults, violations, asked, billed },
    get openRequests() {
      return openRequests;
    },
    close: () => server.close(),
  };
}

type Job = {
  readonly options: OpenAiSimOptions;
  readonly rules: ChatRules;
  readonly faults: FaultPlan;
  readonly violations: string[];
  readonly asked: Record<string, unknown>[];
  readonly billed: { input: number; output: number };
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
};

async function answer(job: Job, path: string): Promise<void> {
  const { request, response, options, faults } = job;
  const body = await bodyOf(request);
  if (body === null) return;
  if (request.headers.authorization !== `Bearer ${options.apiKey}`) {
    return refuse(job, 401, { code: 'invalid_api_key', message: 'the key is wrong' });
  }
  const fault = faults.take();
  if (fault?.kind === 'refuse') {
    return refuse(job, fault.status, { code: `status_${fault.status}`, message: 'refused' });
  }
  if (fault?.kind === 'hang' || fault?.kind === 'half_open') return;
  if (fault?.kind === 'slow') await sleep(fault.ms);
  if (path.endsWith('/chat/completions')) return chat(job, body, fault);
  if (path.endsWith('/audio/speech')) return speech(job, body, fault);
  if (path.endsWith('/audio/transcriptions')) return transcription(job, body, fault);
  response.writeHead(404, JSON_HEAD).end('{}');
}

async function bodyOf(request: IncomingMessage): Promise<Buffer | null> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of request) {
      chunks.push(chunk as Buffer);
      size += (chunk as Buffer).length;
      if (size > MAX_BODY_BYTES) return null;
    }
    return Buffer.concat(chunks);
  } catch {
    return null; // the client went away while it spoke
  }
}

function refuse({ response, rules }: Job, status: number, error: object): void {
  // Some say so with 200 (providers.md 3.7).
  response.writeHead(rules.refusesWith200 ? 200 : status, JSON_HEAD).end(JSON.stringify({ error }));
}

function violate(job: Job, what: string): void {
  job.violations.push(what);
  refuse(job, 400, { code: 'invalid_request_error', message: what });
}

// ---- Chat ----

type ChatBody = Record<string, unknown> & {
  readonly messages?: readonly Record<string, unknown>[];
  readonly tools?: readonly unknown[];
};

async function chat(job: Job, bytes: Buffer, fault: VendorFault | null): Promise<void> {
  const { options, rules, asked, response, billed } = job;
  const body = JSON.parse(bytes.toString('utf8')) as ChatBody;
  asked.push(body);
  const wrong = rules.check(body);
  if (wrong !== null) return violate(job, wrong);
  const messages = body.messages ?? [];
  const last = messages.at(-1);
  if (fault?.kind === 'fail_before_start') {
    const { code, message } = rules.failure;
    return refuse(job, 500, { code, message });
  }
  if (fault?.kind === 'moderated' && rules.moderation === 'refuse') {
    return refuse(job, 400, { code: rules.moderationCode, message: 'withheld' });
  }
  const wantsCall =
    options.call !== undefined && body.tools !== undefined && last?.['role'] !== 'tool';
  const said = typeof last?.['content'] === 'string' ? last['content'] : '';
  const text = options.reply ?? `You said: ${said}`;
  response.writeHead(200, STREAM_HEAD);
  const stream = new ChatStream(response, rules);
  await stream.begin();
  if (wantsCall && options.call !== undefined) await stream.call(options.call, rules.wholeCalls);
  else await stream.words(text, fault);
  if (stream.isBroken) return;
  const isModerated = fault?.kind === 'moderated';
  const usage = {
    prompt_tokens: 10 + messages.length,
    completion_tokens: Math.ceil(text.length / 4),
  };
  billed.input += usage.prompt_tokens;
  billed.output += usage.completion_tokens;
  stream.end(isModerated ? 'content_filter' : wantsCall ? 'tool_calls' : 'stop', usage);
}

/** How a stream ends before its time. */
const LAST_WORDS: Readonly<Record<string, (response: ServerResponse, rules: ChatRules) => void>> = {
  cut: (response) => void response.destroy(),
  fail_midway: (response, { failure }) =>
    void response.end(`data: ${JSON.stringify({ error: failure })}\n\n`),
  junk: (response) => void response.end('data: {"choices": [{"delta": {"content": \n\n'),
  recycle: (response) => void response.end(),
  stall: () => undefined,
  code_in_chunk: (response) =>
    void response.end(
      `data: ${JSON.stringify({ code: 10013, message: 'withheld', choices: [] })}\n\n`,
    ),
};

class ChatStream {
  readonly #response: ServerResponse;
  readonly #rules: ChatRules;
  isBroken = false;

  constructor(response: ServerResponse, rules: ChatRules) {
    this.#response = response;
    this.#rules = rules;
  }

  async begin(): Promise<void> {
    this.#response.write(': keep-alive\n\n');
    this.#send({ role: 'assistant', content: '' });
    // What is thought must never be heard.
    if (this.#rules.thinks) this.#send({ reasoning_content: 'Let me think about SECRET things.' });
    await Promise.resolve();
  }

  async words(text: string, fault: VendorFault | null): Promise<void> {
    const pieces = text.match(/.{1,4}/gsu) ?? [];
    for (const [index, content] of pieces.entries()) {
      if (index === Math.floor(pieces.length / 2) && this.#play(fault)) return;
      this.#send({ content });
      await sleep(2);
    }
  }

  async call(
    call: { readonly name: string; readonly arguments: object },
    isWhole: boolean,
  ): Promise<void> {
    const text = JSON.stringify(call.arguments);
    const parts = isWhole ? [text] : (text.match(/.{1,5}/gsu) ?? [text]);
    for (const [index, part] of parts.entries()) {
      const first = index === 0 ? { id: 'call_1', type: 'function' } : {};
      const named = { ...(index === 0 ? { name: call.name } : {}), arguments: part };
      this.#send({ tool_calls: [{ index: 0, ...first, function: named }] });
      await sleep(2);
    }
  }

  end(finish: string, usage: { prompt_tokens: number; completion_tokens: number }): void {
    this.#send({}, finish, this.#rules.usageOnLast ? { usage } : {});
    if (!this.#rules.usageOnLast) this.#event({ choices: [], usage });
    this.#response.end('data: [DONE]\n\n');
  }

  /** True when nothing more comes. */
  #play(fault: VendorFault | null): boolean {
    if (fault?.kind === 'huge') this.#send({ content: 'x'.repeat(fault.bytes) });
    const name = fault?.kind === 'own' ? fault.name : (fault?.kind ?? '');
    const last = LAST_WORDS[name];
    if (last === undefined) return false;
    this.isBroken = true;
    last(this.#response, this.#rules);
    return true;
  }

  #send(delta: object, finish: string | null = null, more: object = {}): void {
    this.#event({ choices: [{ index: 0, delta, finish_reason: finish }], ...more });
  }

  /** Bytes cut in the middle of characters, as networks do. */
  #event(more: object): void {
    const chunk = {
      id: 'c1',
      object: 'chat.completion.chunk',
      created: 1,
      model: 'sim',
      code: 0,
      ...more,
    };
    const bytes = Buffer.from(`data: ${JSON.stringify(chunk)}\n\n`);
    const middle = bytes.length >> 1;
    this.#response.write(bytes.subarray(0, middle));
    this.#response.write(bytes.subarray(middle));
  }
}

// ---- Sound ----

async function speech(job: Job, bytes: Buffer, fault: VendorFault | null): Promise<void> {
  const { response } = job;
  const body = JSON.parse(bytes.toString('utf8')) as Record<string, unknown>;
  const { model, input, voice, response_format: format } = body;
  if (typeof model !== 'string' || typeof voice !== 'string')
    return violate(job, 'model and voice');
  if (typeof input !== 'string' || input === '' || input.length > 4096)
    return violate(job, 'input');
  if (format !== 'pcm') return violate(job, 'response_format');
  if (fault?.kind === 'fail_before_start') return refuse(job, 500, { message: 'no voice today' });
  if (fault?.kind === 'moderated')
    return refuse(job, 400, { code: 'content_policy', message: 'no' });
  response.writeHead(200, { 'content-type': 'audio/pcm' });
  const sound = Buffer.from(bytesOf(simSpeech(input, 24_000)));
  // Odd lengths: a sample is cut by every chunk.
  for (let at = 0; at < sound.length; at += 4_801) {
    if (at > sound.length / 2 && fault?.kind === 'cut') return void response.destroy();
    if (at > sound.length / 2 && fault?.kind === 'own') return;
    response.write(sound.subarray(at, at + 4_801));
    await sleep(1);
  }
  response.end();
}

async function transcription(job: Job, bytes: Buffer, fault: VendorFault | null): Promise<void> {
  const { response, options } = job;
  const form = bytes.toString('latin1');
  const field = (name: string): string =>
    new RegExp(`name="${name}"\\r\\n\\r\\n([^\\r]*)\\r\\n`).exec(form)?.[1] ?? '';
  if (field('model') === '') return violate(job, 'model');
  if (!['zh', 'en'].includes(field('language'))) return violate(job, 'language');
  const riff = bytes.indexOf('RIFF');
  if (riff < 0 || bytes.readUInt32LE(riff + 24) !== 16_000) return violate(job, 'a WAV of 16 kHz');
  const length = bytes.readUInt32LE(riff + 40);
  if (riff + 44 + length > bytes.length) return violate(job, 'a WAV that is whole');
  if (fault?.kind === 'fail_before_start') return refuse(job, 500, { message: 'no ears today' });
  const text = wordsIn(bytes.subarray(riff + 44, riff + 44 + length), options.words ?? {});
  if (field('stream') !== 'true') {
    response.writeHead(200, JSON_HEAD).end(JSON.stringify({ text }));
    return;
  }
  if (fault?.kind === 'own' && fault.name === 'no_stream') {
    response.writeHead(200, JSON_HEAD).end(JSON.stringify({ text }));
    return;
  }
  response.writeHead(200, STREAM_HEAD);
  const send = (event: object): void => void response.write(`data: ${JSON.stringify(event)}\n\n`);
  const half = Math.ceil(text.length / 2);
  send({ type: 'transcript.text.delta', delta: text.slice(0, half) });
  await sleep(5);
  if (fault?.kind === 'cut') return void response.destroy();
  if (fault?.kind === 'junk') return void response.end('data: {"type"\n\n');
  if (fault?.kind === 'recycle') return void response.end();
  send({ type: 'transcript.text.delta', delta: text.slice(half) });
  send({ type: 'transcript.text.done', text });
  response.end();
}

function wordsIn(wav: Buffer, words: Readonly<Record<string, string>>): string {
  const heard: string[] = [];
  const hearing = new SimHearing({
    ...{ words, rateHz: 16_000, silenceMs: 60_000 },
    onSentence: (text) => heard.push(text),
  });
  const pcm = new Int16Array(wav.length >> 1);
  for (let i = 0; i < pcm.length; i++) pcm[i] = wav.readInt16LE(i * 2);
  hearing.push(pcm);
  hearing.end();
  return heard.filter(Boolean).join(' ');
}
