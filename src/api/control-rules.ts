/** What is in the way of a command to a live call, or wrong with a sound for it, in both languages. */
import type { RuleText } from './problem.ts';

export const CONTROL_RULES = {
  on_hold: () => ({ en: 'the call is on hold', zh: '通话处于保持状态' }),
  agent_muted: () => ({
    en: 'the agent is muted: the notice would not be heard',
    zh: '座席已静音：对方听不到录音提示',
  }),
  waiting_full: () => ({ en: 'too much waits to be said already', zh: '等待播报的内容过多' }),
  digits_full: () => ({ en: 'too many digits wait to be sent', zh: '等待发送的按键过多' }),
  no_keys: () => ({ en: 'the other side is no telephone', zh: '对方不是电话终端' }),
  no_notes: () => ({
    en: 'the realtime model of this agent answers whatever it is told: send the message with respond: true',
    zh: '该智能体使用实时模型，收到消息必定应答：请使用 respond: true',
  }),
  not_recording: () => ({ en: 'nothing is being recorded', zh: '当前没有录音' }),
  bytes: (p) => ({
    en: `must not lead to more than ${String(p['limit'])} bytes`,
    zh: `内容不得超过 ${String(p['limit'])} 字节`,
  }),
  sound: () => ({ en: 'leads to neither WAV nor MP3', zh: '不是有效的 WAV 或 MP3 音频' }),
  sound_codec: (p) => ({
    en: `leads to a WAV file that cannot be read: ${String(p['found'])}`,
    zh: `不支持的 WAV 编码：${String(p['found'])}`,
  }),
  sound_channels: (p) => ({
    en: `must have one to eight channels; this has ${String(p['found'])}`,
    zh: `声道数必须为 1 至 8；当前为 ${String(p['found'])}`,
  }),
} as const satisfies Readonly<Record<string, RuleText>>;
