/** One command of the main thread, carried out on the chain of its call. */
import { messageOf } from '#lib/errors.ts';
import type { RecordingSeal } from '#lib/sealed-audio.ts';
import type { MediaChain } from './media-chain.ts';
import type { MediaCommand, MediaReply } from './media-protocol.ts';
import type { RecordingFile } from './recording/recording-file.ts';

export type ChainCommand = Exclude<MediaCommand, { type: 'open' | 'close' | 'census' }>;

export type CommandContext = {
  readonly reply: (reply: MediaReply) => void;
  openFile(
    path: string,
    seal: RecordingSeal | null,
    onFailed: (message: string) => void,
  ): RecordingFile;
};

/** Never throws: a fault ends the media of this call, and nothing else. */
export function obey(chain: MediaChain, command: ChainCommand, context: CommandContext): void {
  try {
    carryOut(chain, command, context);
  } catch (error) {
    chain.fail(error);
  }
}

function describe(chain: MediaChain, session: number, { reply }: CommandContext): void {
  reply({ type: 'described', session, text: chain.describe() });
}

function carryOut(chain: MediaChain, command: ChainCommand, context: CommandContext): void {
  switch (command.type) {
    case 'start':
      chain.start(command.audio);
      return describe(chain, command.session, context);
    case 'pause':
      return chain.pause();
    case 'resume':
      return chain.resume();
    case 'flush':
      return chain.flush(command.count, command.position);
    case 'arm':
      return chain.armBargeIn(command.on, command.confirmMs);
    case 'mute':
      if (command.side === 'agent') chain.output.mute(command.on);
      else chain.muteCaller(command.on);
      return;
    case 'dtmf':
      return chain.output.sendDtmf(command);
    case 'loop':
      return chain.output.loop.set(command.pcm);
    case 'voice':
      return chain.output.voice.set(command.gainDb);
    case 'background':
      return chain.output.background.set(command.sound);
    case 'effect':
      return chain.output.effects.add(command.pcm, command.gainDb, command.alone);
    case 'party.join':
      return chain.output.parties.add(command.party, command, command.settings);
    case 'party.set':
      return chain.output.parties.set(command.party, command.settings, command.from);
    case 'party.leave':
      return chain.output.parties.remove(command.party);
    case 'tap':
      return chain.taps.add(command.tap, command.caller, command.agent);
    case 'untap':
      return chain.taps.remove(command.tap);
    case 'record':
    case 'recording.start':
    case 'recording.pause':
    case 'recording.stop':
      return record(chain, command, context);
  }
}

function record(
  chain: MediaChain,
  command: Extract<ChainCommand, { type: 'record' | `recording.${string}` }>,
  context: CommandContext,
): void {
  switch (command.type) {
    case 'record':
      return chain.record();
    case 'recording.start': {
      const { path, seal } = command;
      chain.startRecording((onFailed) => context.openFile(path, seal, onFailed));
      return;
    }
    case 'recording.pause':
      if (command.on) chain.recording.pause();
      else chain.recording.resume();
      return;
    case 'recording.stop':
      void stopRecording(chain, command.session, context);
      return;
  }
}

async function stopRecording(
  chain: MediaChain,
  session: number,
  { reply }: CommandContext,
): Promise<void> {
  const type = 'recording.stopped';
  try {
    reply({ type, session, recording: await chain.stopRecording(), error: null });
  } catch (error) {
    reply({ type, session, recording: null, error: messageOf(error) });
  }
}
