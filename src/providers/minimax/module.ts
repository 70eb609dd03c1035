/** MiniMax: a voice, and language models by the OpenAI protocol. */
import { chatModelOf } from '../openai/chat-vendors.ts';
import type { VendorModule } from '../vendor.ts';
import { createMinimaxTts } from './tts.ts';

export const MINIMAX: VendorModule = {
  vendor: 'minimax',
  llm: chatModelOf('minimax'),
  tts: createMinimaxTts,
};
