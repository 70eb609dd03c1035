/** Event numbers of the openspeech v3 sockets (providers.md 7.2, 7.5). */

/** From the client. */
export const ASK = {
  startConnection: 1,
  finishConnection: 2,
  startSession: 100,
  cancelSession: 101,
  finishSession: 102,
  task: 200,
  sayHello: 300,
  chatTtsText: 500,
  chatTextQuery: 501,
  truncate: 513,
  interrupt: 515,
} as const;

/** From the server. */
export const TOLD = {
  connectionStarted: 50,
  connectionFailed: 51,
  connectionFinished: 52,
  sessionStarted: 150,
  sessionCanceled: 151,
  sessionFinished: 152,
  sessionFailed: 153,
  usage: 154,
  sentenceStart: 350,
  sentenceEnd: 351,
  audio: 352,
  ttsEnded: 359,
  subtitle: 364,
  asrInfo: 450,
  asrResponse: 451,
  asrEnded: 459,
  chatResponse: 550,
  chatEnded: 559,
  dialogError: 599,
} as const;
