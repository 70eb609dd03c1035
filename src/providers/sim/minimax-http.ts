/** The HTTP voice of the simulated MiniMax (providers.md 6.1): server-sent events, the last of which may repeat it all. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { codeOfFault, problemOfVoice, type SimMinimaxLink } from './minimax-rules.ts';
import { parsedMessage } from './vendor-message.ts';
import { SimSpeaker } from './vendor-speaker.ts';

type Link = Omit<SimMinimaxLink, 'socket' | 'isTwoWay'>;
type Body = Readonly<Record<string, unknown>>;

export async function answerMinimaxHttp(
  link: Link,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const body = parsedMessage(Buffer.concat(chunks));
  if (body !== null) link.note(body);
  const { fault } = link;
  const refuse = (code: number, text: string): void => {
    const message = { base_resp: { status_code: code, status_msg: text } };
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(message));
  };
  if (fault?.kind === 'refuse') return void response.writeHead(fault.status).end('{}');
  if (fault?.kind === 'hang') return;
  if (!link.isKnown) return refuse(1004, 'invalid api key');
  const code = codeOfFault(fault);
  if (code !== null) return refuse(code, 'refused');
  const problem = body === null ? 'no JSON' : problemOfRequest(request, body);
  if (body === null || problem !== null) {
    link.violation(`http: ${problem}`);
    return refuse(2013, String(problem));
  }
  stream(link, body, response);
}

function problemOfRequest(request: IncomingMessage, body: Body): string | null {
  if (request.method !== 'POST') return `method ${request.method}`;
  if (body['stream'] !== true) return 'not streamed';
  const { text } = body;
  if (typeof text !== 'string' || text === '' || text.length > 10_000) return 'the text';
  return problemOfVoice(body);
}

function stream(link: Link, body: Body, response: ServerResponse): void {
  const { clock, fault } = link;
  const { sample_rate: rateHz } = body['audio_setting'] as { readonly sample_rate: number };
  const options = (body['stream_options'] ?? {}) as Body;
  const isPlain = options['exclude_aggregated_audio'] === true && !isOwn(link, 'status_repeats');
  const whole: string[] = [];
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  const event = (data: object, code = 0): void => {
    const base = { status_code: code, status_msg: '语音' };
    const text = `data: ${JSON.stringify({ data, trace_id: 'sim', base_resp: base })}\n\n`;
    // Chunks may end anywhere, also inside a character.
    const bytes = Buffer.from(text);
    const at = bytes.indexOf(0xe8) + 1;
    response.write(bytes.subarray(0, at));
    response.write(bytes.subarray(at));
  };
  const speaker = new SimSpeaker({
    ...{ clock, rateHz, fault },
    send: (pcm) => {
      const audio = Buffer.from(pcm).toString('hex');
      whole.push(audio);
      if (!isOwn(link, 'only_final')) event({ audio, status: 1 });
    },
    midway: () => {
      if (fault?.kind === 'cut') response.destroy();
      if (fault?.kind === 'recycle') response.end();
      if (fault?.kind === 'junk') response.write('data: <html>not now</html>\n\n');
      if (fault?.kind === 'fail_midway') event({}, 1024);
      if (fault?.kind === 'moderated') event({}, 1026);
      if (fault?.kind === 'half_open' || isOwn(link, 'stall')) speaker.close();
    },
  });
  response.on('close', () => speaker.close());
  speaker.say(String(body['text']));
  speaker.then(() => {
    const isAll = !isPlain || isOwn(link, 'only_final');
    event({ audio: isAll ? whole.join('') : '', status: 2 });
    response.end();
  });
}

function isOwn({ fault }: Link, name: string): boolean {
  return fault?.kind === 'own' && fault.name === name;
}
