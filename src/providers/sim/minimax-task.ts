/** One socket of the simulated MiniMax: a task with many texts (providers.md 6.2, 6.3; events of its pages on both). */
import type { TimerHandle } from '#lib/clock.ts';
import { codeOfFault, problemOfVoice, type SimMinimaxLink } from './minimax-rules.ts';
import { parsedMessage } from './vendor-message.ts';
import { playMidway, SimSpeaker } from './vendor-speaker.ts';

const IDLE_MS = 120_000;
const MAX_CHARS = 10_000;
const SENTENCE = /^[^。；？！;?!.\n]*[。；？！;?!.\n]+\s*/u;
const WRONG = 2013;
const REFUSED_KEY = 1004;

type Message = Readonly<Record<string, unknown>>;

export class SimMinimaxTask {
  readonly #link: SimMinimaxLink;
  #speaker: SimSpeaker | null = null;
  #state: 'connecting' | 'connected' | 'starting' | 'started' | 'finishing' | 'over' = 'connecting';
  #idle: TimerHandle | undefined;
  #connect: TimerHandle | undefined;
  /** Text of an unfinished sentence; of a two-way socket only. */
  #text = '';
  /** The sound of the text under way, as hex. */
  #whole: string[] = [];

  constructor(link: SimMinimaxLink) {
    this.#link = link;
    const { socket, fault, isKnown, clock } = link;
    socket.on('message', (data, isBinary) => {
      if (this.#state === 'over') return;
      const message = isBinary ? null : parsedMessage(data as Buffer);
      if (message === null) return this.#wrong('no message');
      link.note(message);
      this.#rest();
      this.#act(String(message['event']), message);
    });
    socket.on('close', () => this.#end());
    this.#rest();
    if (!isKnown) this.#fail(REFUSED_KEY, 'invalid api key');
    else if (fault?.kind !== 'hang') {
      // Not at once: a client that does not wait for it is caught.
      this.#connect = clock.setTimer(() => {
        this.#state = 'connected';
        this.#send('connected_success', { connect_id: '1' });
      }, 1);
    }
  }

  #act(event: string, message: Message): void {
    if (event === 'task_start' && this.#state === 'connected') return this.#start(message);
    if (this.#state !== 'started') return this.#wrong(`${event} while ${this.#state}`);
    if (event === 'task_continue') return this.#continue(message['text']);
    if (event === 'task_finish') return this.#finish();
    if (!this.#link.isTwoWay) return this.#wrong(`the event ${event}`);
    if (event === 'task_flush') return this.#flush();
    if (event === 'task_cancel') return this.#cancel();
    this.#wrong(`the event ${event}`);
  }

  #start(message: Message): void {
    const { fault, clock } = this.#link;
    const code = codeOfFault(fault);
    if (code !== null) return this.#fail(code, 'refused');
    const problem = problemOfVoice(message);
    if (problem !== null) return this.#wrong(problem);
    this.#state = 'starting';
    const audio = message['audio_setting'] as { readonly sample_rate: number };
    this.#speaker = new SimSpeaker({
      ...{ clock, rateHz: audio.sample_rate, fault },
      send: (pcm) => this.#sound(pcm),
      midway: () => this.#midway(),
    });
    this.#connect = clock.setTimer(() => {
      this.#state = 'started';
      this.#send('task_started', {});
    }, 1);
  }

  #continue(text: unknown): void {
    if (typeof text !== 'string' || text.length > MAX_CHARS) return this.#wrong('the text');
    if (!this.#link.isTwoWay) {
      // As it is given, whatever it is.
      this.#speaker?.say(text);
      this.#speaker?.then(() => this.#final());
      return;
    }
    this.#text += text;
    for (;;) {
      const sentence = SENTENCE.exec(this.#text)?.[0];
      if (sentence === undefined) return;
      this.#text = this.#text.slice(sentence.length);
      this.#sentence(sentence);
    }
  }

  #sentence(text: string): void {
    if (text.trim() === '') return;
    this.#speaker?.then(() => this.#send('sentence_start', {}));
    this.#speaker?.say(text);
    this.#speaker?.then(() => this.#final());
    this.#speaker?.then(() => this.#send('sentence_end', {}));
  }

  #flush(): void {
    this.#sentence(this.#text);
    this.#text = '';
    this.#speaker?.then(() => {
      if (!this.#isOwn('no_end')) this.#send('task_flushed', {});
    });
  }

  #cancel(): void {
    if (this.#isOwn('no_cancel')) return;
    this.#text = '';
    this.#whole = [];
    // What was on its way still comes.
    if (this.#link.fault?.kind !== 'late') this.#speaker?.drop();
    this.#speaker?.then(() => this.#send('task_canceled', {}));
  }

  #finish(): void {
    this.#state = 'finishing';
    if (this.#link.isTwoWay) this.#sentence(this.#text);
    this.#speaker?.then(() => {
      this.#send('task_finished', {});
      this.#leave();
    });
  }

  #sound(pcm: Uint8Array): void {
    const audio = Buffer.from(pcm).toString('hex');
    this.#whole.push(audio);
    // One of the forms in which it comes: all of it in the last message.
    if (this.#isOwn('only_final')) return;
    this.#send('task_continued', { data: { audio }, is_final: false });
  }

  #final(): void {
    const whole = this.#whole.join('');
    this.#whole = [];
    if (this.#isOwn('no_end') && !this.#link.isTwoWay) return;
    const repeats = this.#isOwn('final_repeats') || this.#isOwn('status_repeats');
    const audio = repeats || this.#isOwn('only_final') ? whole : '';
    const data = { audio, ...(this.#isOwn('status_repeats') ? { status: 2 } : {}) };
    const info = { extra_info: { audio_size: whole.length / 2, audio_format: 'pcm' } };
    this.#send('task_continued', { data, is_final: true, ...info });
  }

  #isOwn(name: string): boolean {
    const { fault } = this.#link;
    return fault?.kind === 'own' && fault.name === name;
  }

  /** The 120 s without an event begin anew. */
  #rest(): void {
    const { clock, options } = this.#link;
    clock.clearTimer(this.#idle);
    this.#idle = clock.setTimer(() => this.#leave(), options.idleMs ?? IDLE_MS);
  }

  #send(event: string, message: object): void {
    const { socket } = this.#link;
    if (socket.readyState !== socket.OPEN) return;
    const base = { status_code: 0, status_msg: 'success' };
    const ids = { session_id: 'sim-session', trace_id: 'sim-trace' };
    socket.send(JSON.stringify({ event, ...ids, base_resp: base, ...message }));
  }

  #wrong(text: string): void {
    this.#link.violation(`voice: ${text}`);
    this.#fail(WRONG, text);
  }

  #fail(code: number, text: string): void {
    this.#send('task_failed', { base_resp: { status_code: code, status_msg: text } });
    this.#leave();
  }

  #leave(): void {
    this.#end();
    this.#link.socket.close(1000);
  }

  #end(): void {
    this.#state = 'over';
    this.#speaker?.close();
    for (const timer of [this.#idle, this.#connect]) this.#link.clock.clearTimer(timer);
  }

  #midway(): void {
    const { fault, socket } = this.#link;
    if (fault === null) return;
    playMidway(fault, {
      ...{ socket, isBinary: false, swapped: '{"event":"task_finished"}' },
      stop: () => this.#speaker?.close(),
      fail: () => this.#fail(1024, 'internal'),
      recycle: () => {
        this.#send('task_finished', {});
        this.#leave();
      },
      own: (name) => {
        if (name === 'moderated') this.#fail(1026, 'sensitive');
        if (name === 'failed_plainly') socket.send('{"event":"task_failed"}');
        if (name === 'no_hex') this.#send('task_continued', { data: { audio: 'xyz' } });
        if (name === 'odd_fields') this.#send('something_new', { data: null, list: [1] });
      },
    });
    if (fault.kind === 'moderated') this.#fail(1026, 'sensitive');
  }
}
