/** A model that speaks the OpenAI chat protocol on the loopback: keeps what it is asked, answers as the test says. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import { atEnd } from './_store.ts';

export type Asked = {
  readonly stream: boolean;
  readonly messages: readonly { readonly role: string; readonly content: string }[];
};

export type ChatModel = {
  readonly env: Readonly<Record<string, string>>;
  readonly asked: Asked[];
  /** What to say; a number is an HTTP status to refuse with. */
  answer: (asked: Asked) => string | number;
  /** Tokens of every answer; null: it does not tell. */
  usage: { readonly prompt_tokens: number; readonly completion_tokens: number } | null;
};

export async function startChatModel(t: TestContext): Promise<ChatModel> {
  const asked: Asked[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const question = JSON.parse(Buffer.concat(chunks).toString()) as Asked;
      asked.push(question);
      const said = model.answer(question);
      if (typeof said === 'number') {
        response.writeHead(said, { 'content-type': 'application/json' });
        response.end(JSON.stringify({ error: { message: 'refused by the test' } }));
        return;
      }
      const choice = { index: 0, finish_reason: 'stop' };
      if (question.stream !== true) {
        response.writeHead(200, { 'content-type': 'application/json' });
        const message = { role: 'assistant', content: said };
        const usage = model.usage === null ? {} : { usage: model.usage };
        response.end(JSON.stringify({ choices: [{ ...choice, message }], ...usage }));
        return;
      }
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(
        `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: said } }] })}\n\n`,
      );
      response.write(`data: ${JSON.stringify({ choices: [{ ...choice, delta: {} }] })}\n\n`);
      if (model.usage !== null) {
        response.write(`data: ${JSON.stringify({ choices: [], usage: model.usage })}\n\n`);
      }
      response.end('data: [DONE]\n\n');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  atEnd(t, () => {
    server.closeAllConnections();
    server.close();
  });
  const model: ChatModel = {
    env: {
      CALLYARD_LLM_VENDOR: 'openai',
      CALLYARD_LLM_MODEL: 'model-1',
      CALLYARD_LLM_API_KEY: 'made-up-key-0001',
      CALLYARD_LLM_BASE_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    },
    asked,
    answer: () => 'Yes.',
    usage: null,
  };
  return model;
}

/** The system prompt of a question. */
export function systemOf({ messages }: Asked): string {
  return messages.find(({ role }) => role === 'system')?.content ?? '';
}
