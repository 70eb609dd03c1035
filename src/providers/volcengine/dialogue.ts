/**
 * Doubao's speech-to-speech dialogue (providers.md 7.2, 7.3). It hears and cuts turns by itself, and has no tools. Where
 * tools are needed, the pattern is a hybrid: when the caller's turn is over (459), ask a language model of one's own,
 * answer with its words (500) or give the model facts to word (502), and drop the model's own answer of that question
 * (`tts_type: default`). That is not built here: an agent with tools uses a recogniser, a language model and a voice.
 */
import { randomUUID } from 'node:crypto';
import { withDeadline } from '#lib/deadline.ts';
import { AppError } from '#lib/errors.ts';
import type { RealtimeProvider } from '../contract.ts';
import type { LineCall, LineEvents, RealtimeLine, RealtimeSettings } from '../realtime-line.ts';
import { openRealtimeSession } from '../realtime-session.ts';
import { numberOption, type VendorSettings, type VendorTools } from '../vendor.ts';
import { serviceOf, type Service } from './account.ts';
import { dialogueOptions, type DialogueOptions } from './dialogue-start.ts';
import { DialogueLine } from './dialogue-line.ts';
import { VolcLine } from './line.ts';

/** Options: those of `dialogueOptions`, and `reply_ms`, `stall_ms` (default 5000). Errors: E_CONFIG. */
export function createVolcengineRealtime(
  settings: VendorSettings,
  tools: VendorTools,
): RealtimeProvider {
  const service = serviceOf(settings, 'realtime');
  const options = dialogueOptions(settings);
  const replyMs = numberOption(settings, 'reply_ms', 5_000, [100, 60_000]);
  const stallMs = numberOption(settings, 'stall_ms', 5_000, [100, 60_000]);
  return {
    vendor: 'volcengine',
    hasTools: false,
    open: (call, signal) => {
      const dialogue = new Dialogue(service, options, tools);
      const realtime: RealtimeSettings = {
        ...{
          vendor: 'volcengine',
          hasTools: false,
          tools,
          replyMs,
          stallMs,
          limitMs: null,
        },
        connect: (lineCall, events, lineSignal) => dialogue.connect(lineCall, events, lineSignal),
      };
      return openRealtimeSession(realtime, call, signal);
    },
  };
}

/** One call, whatever number of sessions it takes. */
class Dialogue {
  readonly #service: Service;
  readonly #options: DialogueOptions;
  readonly #tools: VendorTools;
  /** The vendor's name for its memory of this call. */
  #dialogId = '';

  constructor(service: Service, options: DialogueOptions, tools: VendorTools) {
    this.#service = service;
    this.#options = options;
    this.#tools = tools;
  }

  async connect(call: LineCall, events: LineEvents, signal: AbortSignal): Promise<RealtimeLine> {
    const service = this.#service;
    const { clock, log } = this.#tools;
    const { canTruncate, endWindowMs, resume } = this.#options;
    const resampling = await this.#tools.resampling();
    const line = await VolcLine.open({ service, clock, log }, signal);
    const session = new DialogueLine({
      ...{ service, clock, resampling, line, call, events, canTruncate, endWindowMs },
    });
    const onAbort = (): void =>
      session.failed(new AppError('E_ABORTED', `${service.what}: given up`));
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      if (signal.aborted) onAbort();
      line.begin(randomUUID(), session, this.#options.payloadOf(call, this.#dialogId));
      const what = `${service.what}: starting a session`;
      const dialogId = await withDeadline(session.started, service.startMs, what, clock);
      if (resume === 'dialog_id') this.#dialogId = dialogId;
      return session;
    } catch (error) {
      session.close();
      throw error;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }
}
